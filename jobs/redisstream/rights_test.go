package redisstream_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/galeserver/gale/internal/redistest"
	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
	"github.com/galeserver/gale/jobs/redisstream"
)

// limit creates the user of docs/howto/redis.md with additional rules, and returns the
// address with that user. The user may use the keys of every prefix.
func limit(t *testing.T, server *redistest.Server, more ...any) string {
	t.Helper()
	page, err := os.ReadFile("../../docs/howto/redis.md")
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`(?m)^ACL SETUSER gale .*$`).FindString(string(page))
	line = strings.ReplaceAll(line, "{gale:jobs}", "{*:jobs}")
	var args []any
	for word := range strings.FieldsSeq(line) {
		args = append(args, word)
	}
	if err := server.Client().Do(t.Context(), append(args, more...)...).Err(); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return strings.Replace(server.URL(), "//", "//gale:secret@", 1)
}

func setUser(t *testing.T, server *redistest.Server, rules ...any) {
	t.Helper()
	if err := server.Client().Do(t.Context(), append([]any{"ACL", "SETUSER", "gale"}, rules...)...).Err(); err != nil {
		t.Fatal(err)
	}
}

// The permissions in the documentation are enough for everything that a store does.
func TestLimitedUser(t *testing.T) {
	t.Parallel()
	address := limit(t, redistest.Start(t))
	s := open(t, address, redisstream.Options{})
	if err := s.Ready(t.Context()); err != nil {
		t.Error(err)
	}
	conform(t, address)
}

// Scripts use only commands that Ready tests and that the documentation names.
func TestRightsAreComplete(t *testing.T) {
	page, err := os.ReadFile("../../docs/howto/redis.md")
	if err != nil {
		t.Fatal(err)
	}
	rights := strings.Fields(regexp.MustCompile(`(?m)^ACL SETUSER gale .*$`).FindString(string(page)))
	probe, err := os.ReadFile("lua/probe.lua")
	if err != nil {
		t.Fatal(err)
	}
	lib, err := os.ReadFile("lua/lib.lua")
	if err != nil {
		t.Fatal(err)
	}
	all, err := os.ReadDir("lua")
	if err != nil {
		t.Fatal(err)
	}
	calls := regexp.MustCompile(`(?:redis\.p?call\(|try\('[A-Z]+', |grouped\(q, |pcall\(grouped, q, )'([A-Z]+)'(?:, '(CREATE|DELCONSUMER|STREAM|GROUPS|CONSUMERS)')?`)
	n := 0
	for _, file := range all {
		text, err := os.ReadFile("lua/" + file.Name())
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range calls.FindAllStringSubmatch(string(text), -1) {
			n++
			right := "+" + strings.ToLower(m[1])
			if m[2] != "" {
				right += "|" + strings.ToLower(m[2])
			}
			if !slices.Contains(rights, right) {
				t.Errorf("%s uses %s, which docs/howto/redis.md does not name", file.Name(), right)
			}
			if word := "'" + m[1] + "'"; !strings.Contains(string(probe), word) && word != "'PUBLISH'" && word != "'TIME'" {
				t.Errorf("%s uses %s, which probe.lua does not test", file.Name(), word)
			}
		}
	}
	if n < 100 || !strings.Contains(string(lib), "'PUBLISH'") {
		t.Errorf("only %d calls were found", n)
	}
}

// If one of its permissions is missing, a store logs the name of that permission and refuses
// the calls that need it. It continues when it has the permission again.
func TestMissingRight(t *testing.T) {
	for right, want := range map[string]string{
		"+xadd": "+xadd", "+hset": "+hset", "+xreadgroup": "XREADGROUP", "+evalsha": "evalsha",
	} {
		t.Run(right, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			var log lines
			s := open(t, limit(t, server, "-"+right[1:]), redisstream.Options{Logger: logTo(&log)})
			ctx := t.Context()
			if right == "+evalsha" {
				setUser(t, server, "-eval")
			}
			if err := s.Ready(ctx); !errors.Is(err, jobs.ErrUnavailable) {
				t.Errorf("Ready: %v", err)
			}
			s.SetPeriod(300 * time.Millisecond)
			for range 20 {
				_, _, err := s.Enqueue(ctx, jobs.NewTask{ID: "a", Name: "work"})
				if right == "+xreadgroup" { // accepted, but no worker may lease it
					within, cancel := context.WithTimeout(ctx, 20*time.Second)
					_, err = s.Lease(within, work("w", 1))
					cancel()
				}
				if !errors.Is(err, jobs.ErrUnavailable) {
					t.Fatalf("not refused: %v", err)
				}
				if right == "+xadd" {
					break // the task is stored but not in its queue yet
				}
			}
			if !strings.Contains(log.String(), want) || !strings.Contains(log.String(), "docs/howto/redis.md") {
				t.Errorf("the log does not name %s:\n%s", want, log.String())
			}
			if n := strings.Count(log.String(), "\n"); n > 8 {
				t.Errorf("%d lines:\n%s", n, log.String())
			}
			setUser(t, server, right, "+eval")
			testutil.Eventually(t, "tasks are accepted", func() bool {
				_, _, err := s.Enqueue(ctx, jobs.NewTask{ID: "b", Name: "work"})
				return err == nil
			})
			if got := finishAll(t, s, work("w", 5), 1); len(got) == 0 {
				t.Error("nothing ran")
			}
			if err := s.Ready(ctx); err != nil {
				t.Error(err)
			}
		})
	}
}

// A watcher without the permission to subscribe logs it and polls.
func TestSubscribeNotAllowed(t *testing.T) {
	server := redistest.Start(t)
	var log lines
	s := open(t, limit(t, server), redisstream.Options{Logger: logTo(&log)})
	enqueue(t, s, "a")
	seen := watch(t, server, s)
	setUser(t, server, "resetchannels") // this ends the subscription
	testutil.Eventually(t, "the log says so", func() bool {
		return strings.Contains(log.String(), "subscription lost") && strings.Contains(log.String(), "NOPERM")
	})
	server.Client().HIncrBy(t.Context(), base+"task:a", "version", 1)
	select {
	case err := <-seen:
		if err != nil {
			t.Errorf("Watch: %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Error("the watcher did not see the change")
	}
	setUser(t, server, "allchannels")
	testutil.Eventually(t, "it subscribes again", func() bool { return strings.Contains(log.String(), "subscribed again") })
}

// Workers continue on a server that has reached maxmemory, because ended tasks free
// memory.
func TestWorkersInAFullServer(t *testing.T) {
	server := redistest.Start(t)
	s := open(t, server.URL(), redisstream.Options{})
	enqueue(t, s, "a", "b", "c")
	l := lease(t, s, work("w", 1), 5*time.Second)[0]
	server.Client().ConfigSet(t.Context(), "maxmemory", "1")
	_, _, err := s.Enqueue(t.Context(), jobs.NewTask{ID: "d", Name: "work", Args: json.RawMessage(`[]`)})
	if !errors.Is(err, jobs.ErrUnavailable) || !strings.Contains(err.Error(), "raise maxmemory") {
		t.Errorf("Enqueue: %v", err)
	}
	if err := s.Ready(t.Context()); !errors.Is(err, jobs.ErrUnavailable) || !strings.Contains(err.Error(), "OOM") {
		t.Errorf("Ready: %v", err)
	}
	if lost, err := s.Extend(t.Context(), []*driver.Lease{l}); err != nil || len(lost) > 0 {
		t.Errorf("Extend: %v, %v", lost, err)
	}
	if err := s.Finish(t.Context(), l, driver.Outcome{State: jobs.StateSuccess}); err != nil {
		t.Error(err)
	}
	if got := finishAll(t, s, work("w", 5), 2); !slices.Equal(got, []string{"b", "c"}) {
		t.Errorf("ran %v", got)
	}
	server.Client().ConfigSet(t.Context(), "maxmemory", "0")
	enqueue(t, s, "d")
}

// For temporary errors of the server, calls return ErrUnavailable with a reason. They succeed
// again when the server recovers.
func TestRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		begin, end []any
		want       string
	}{
		"a replica": {[]any{"REPLICAOF", "127.0.0.1", "1"}, []any{"REPLICAOF", "NO", "ONE"}, "READONLY"},
		"too few replicas": {[]any{"CONFIG", "SET", "min-replicas-to-write", "1"}, []any{"CONFIG", "SET", "min-replicas-to-write", "0"},
			"NOREPLICAS"},
		"another password": {[]any{"ACL", "SETUSER", "gale", "resetpass", ">other"}, []any{"ACL", "SETUSER", "gale", ">secret"}, "WRONGPASS"},
		"no such user":     {[]any{"ACL", "DELUSER", "gale"}, nil, "WRONGPASS"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			var log lines
			s := open(t, limit(t, server), redisstream.Options{Logger: logTo(&log)})
			enqueue(t, s, "a")
			do := func(args ...any) {
				if err := server.Client().Do(t.Context(), args...).Err(); err != nil {
					t.Fatal(err)
				}
			}
			do(c.begin...)
			server.Client().ClientKillByFilter(t.Context(), "USER", "gale") // as a restart of Redis would
			testutil.Eventually(t, "the reason", func() bool {
				_, _, err := s.Enqueue(t.Context(), jobs.NewTask{ID: "b", Name: "work"})
				return errors.Is(err, jobs.ErrUnavailable) && strings.Contains(err.Error(), c.want)
			})
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			if _, err := s.Lease(ctx, work("w", 1)); !errors.Is(err, jobs.ErrUnavailable) {
				t.Errorf("Lease: %v", err)
			}
			for range 20 {
				if err := s.Ready(t.Context()); !errors.Is(err, jobs.ErrUnavailable) {
					t.Fatalf("Ready: %v", err)
				}
			}
			if n := strings.Count(log.String(), "redis refuses commands"); n != 1 {
				t.Errorf("%d lines:\n%s", n, log.String())
			}
			if c.end == nil {
				limit(t, server)
			} else {
				do(c.end...)
			}
			testutil.Eventually(t, "tasks are accepted", func() bool {
				_, _, err := s.Enqueue(t.Context(), jobs.NewTask{ID: "b", Name: "work"})
				return err == nil
			})
			if got := finishAll(t, s, work("w", 5), 2); !slices.Equal(got, []string{"a", "b"}) {
				t.Errorf("ran %v", got)
			}
		})
	}
}

// If the address is that of one node of a cluster, the error says what to change.
func TestOneNodeOfACluster(t *testing.T) {
	nodes := strings.Split(redistest.StartCluster(t), ",")
	refused := 0
	for _, node := range nodes {
		s := open(t, node, redisstream.Options{})
		if err := s.Ready(t.Context()); err != nil {
			refused++
			if !errors.Is(err, jobs.ErrUnavailable) || !strings.Contains(err.Error(), "separated by commas") {
				t.Error(fmt.Sprint(node, ": ", err))
			}
		}
	}
	if refused != 2 {
		t.Errorf("%d of three nodes refused; want two, since one has the slot", refused)
	}
}
