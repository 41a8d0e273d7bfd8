package redisstream_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/galeserver/gale/internal/redistest"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/redisstream"
)

// lines is a log in memory.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func logTo(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }

func TestWarnsOfUnsafeSettings(t *testing.T) {
	for name, c := range map[string]struct {
		settings []string
		want     []string
	}{
		"no file":  {nil, []string{"no append-only file"}},
		"no fsync": {[]string{"--appendonly", "yes", "--appendfsync", "no"}, []string{"never syncs to disk"}},
		"eviction": {[]string{"--appendonly", "yes", "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"}, []string{"may evict tasks", "allkeys-lru"}},
		"sound":    {[]string{"--appendonly", "yes", "--maxmemory", "100mb", "--maxmemory-policy", "noeviction"}, nil},
		"secret":   {[]string{"--appendonly", "yes", "--rename-command", "CONFIG", ""}, []string{"cannot read the configuration"}},
	} {
		t.Run(name, func(t *testing.T) {
			var log lines
			enqueue(t, open(t, redistest.Start(t, c.settings...).URL(), redisstream.Options{Logger: logTo(&log)}), "a")
			for _, want := range c.want {
				if !strings.Contains(log.String(), want) {
					t.Errorf("the log does not contain %q:\n%s", want, log.String())
				}
			}
			if len(c.want) == 0 && strings.Contains(log.String(), "WARN") {
				t.Errorf("the log of a sound server:\n%s", log.String())
			}
		})
	}
}

// A server that is unreachable at the start of the program is checked once it responds;
// an invalid address is an error.
func TestOpen(t *testing.T) {
	server := redistest.Start(t)
	server.Kill()
	var log lines
	s := open(t, server.URL(), redisstream.Options{Logger: logTo(&log)})
	if !strings.Contains(log.String(), "does not respond") {
		t.Errorf("log: %s", log.String())
	}
	server.Restart(t)
	enqueue(t, s, "a")
	if !strings.Contains(log.String(), "no append-only file") {
		t.Errorf("log: %s", log.String())
	}

	for _, address := range []string{
		"", "localhost:6379", "http://localhost", "redis://a:1/1,redis://b:1", "redis://a:1,unix:///tmp/x",
		"redis://u:p@a:1,redis://b:1", "redis://a:1,rediss://b:1",
	} {
		if _, err := redisstream.Open(t.Context(), address, redisstream.Options{}); err == nil {
			t.Errorf("%q was opened", address)
		}
	}
	locked := redistest.Start(t, "--requirepass", "secret")
	var refused lines
	s = open(t, locked.URL(), redisstream.Options{Logger: logTo(&refused)})
	if _, err := s.Get(t.Context(), "a"); !errors.Is(err, jobs.ErrUnavailable) || !strings.Contains(err.Error(), "NOAUTH") || strings.Contains(err.Error(), "secret") {
		t.Errorf("without the password: %v", err)
	}
	if !strings.Contains(refused.String(), "Redis requires a user and password") {
		t.Errorf("log: %s", refused.String())
	}
	open(t, strings.Replace(locked.URL(), "//", "//:secret@", 1), redisstream.Options{})
}

// Tasks in the format of a newer version are neither read nor changed.
func TestNewerFormat(t *testing.T) {
	server := redistest.Start(t)
	enqueue(t, open(t, server.URL(), redisstream.Options{}), "a")
	client := server.Client()
	for _, c := range []struct {
		format  string
		refused bool
	}{{"1", false}, {"2", true}} {
		if err := client.Set(t.Context(), "{gale:jobs}:format", c.format, 0).Err(); err != nil {
			t.Fatal(err)
		}
		var log lines
		s := open(t, server.URL(), redisstream.Options{Logger: logTo(&log)})
		_, err := s.Get(t.Context(), "a")
		if !c.refused {
			if err != nil {
				t.Errorf("format %s: %v", c.format, err)
			}
			continue
		}
		before := client.DBSize(t.Context()).Val()
		_, _, enqueued := s.Enqueue(t.Context(), jobs.NewTask{ID: "b", Name: "work"})
		for _, err := range []error{err, enqueued} {
			if !errors.Is(err, jobs.ErrUnavailable) || !strings.Contains(err.Error(), "newer version") {
				t.Errorf("format %s: %v", c.format, err)
			}
		}
		if !strings.Contains(log.String(), "newer version of the program") {
			t.Errorf("log: %s", log.String())
		}
		if after := client.DBSize(t.Context()).Val(); after != before {
			t.Errorf("%d keys before, %d after", before, after)
		}
	}
}

// A server at maxmemory with noeviction refuses new tasks and keeps those it has.
func TestFullServer(t *testing.T) {
	server := redistest.Start(t, "--maxmemory", "3mb", "--maxmemory-policy", "noeviction")
	s := open(t, server.URL(), redisstream.Options{})
	args := json.RawMessage(`["` + strings.Repeat("x", 1<<16) + `"]`)
	var err error
	n := 0
	for ; err == nil && n < 1000; n++ {
		_, _, err = s.Enqueue(t.Context(), jobs.NewTask{ID: fmt.Sprint("t", n), Name: "work", Args: args})
	}
	if !errors.Is(err, jobs.ErrUnavailable) || n < 2 {
		t.Fatalf("after %d tasks: %v", n, err)
	}
	if _, err := s.Get(t.Context(), "t0"); err != nil {
		t.Error(err)
	}
}
