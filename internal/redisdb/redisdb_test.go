package redisdb_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/galeserver/gale/internal/redisdb"
	"github.com/galeserver/gale/internal/redistest"
	"github.com/galeserver/gale/internal/sharedtest"
	"github.com/galeserver/gale/internal/testutil"
)

func TestAddresses(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"redis://127.0.0.1": "", "redis://:pw@host:1/2": "", "rediss://u:pw@host": "", "unix:///run/redis.sock?db=1": "",
		"redis://a:1,redis://b:2": "", "rediss://a:1, rediss://b:2": "", "redis://h?read_timeout=5s": "",
		"redis://h?max_retries=0":        "",
		"redis://h?pool_size=0":          "no Redis address: pool_size must be more than zero",
		"":                               "no Redis address: invalid URL scheme",
		"localhost:6379":                 "no Redis address: ",
		"http://host":                    "no Redis address: invalid URL scheme: http",
		"redis://host/x":                 "no Redis address: invalid database number",
		"redis://host?nonsense=1":        "no Redis address: unexpected option: nonsense",
		"unix://":                        "no Redis address: ",
		"redis://:se cret@host:port":     "no Redis address: ",
		"redis://a,":                     "no Redis address: invalid URL scheme",
		"redis://a,unix:///run/x":        "a cluster cannot be reached over unix://",
		"redis://a,rediss://b":           "all addresses of a cluster are redis://, or all are rediss://",
		"redis://a/1,redis://b":          "a cluster has database 0 only",
		"redis://:s3cret@ho st,redis://": "no Redis address: ",
	} {
		err := redisdb.Check(address)
		if want == "" && err != nil || want != "" && (err == nil || !strings.HasPrefix(err.Error(), want)) {
			t.Errorf("%q: %v; want %q", address, err, want)
		}
		if err != nil && (strings.Contains(err.Error(), "cret") || strings.Contains(err.Error(), "\n")) {
			t.Errorf("%q: the error shows the password: %v", address, err)
		}
	}
	for address, want := range map[string]int{"redis://h": 3, "redis://h?max_retries=0": -1, "redis://h?max_retries=2": 2} {
		c, err := redisdb.Open(address, redisdb.Options{Retries: 3})
		if err != nil {
			t.Fatal(err)
		}
		// A client turns none into its own word for it.
		if got := c.(*redis.Client).Options().MaxRetries; max(got, 0) != max(want, 0) {
			t.Errorf("%s: %d retries, want %d", address, got, want)
		}
		_ = c.Close()
	}
	if c, err := redisdb.Open("redis://a:1,redis://b:2", redisdb.Options{}); err != nil {
		t.Error(err)
	} else if _, ok := c.(*redis.ClusterClient); !ok {
		t.Errorf("several addresses are a %T", c)
	}
}

// While Redis is away commands fail at once, one line says so, and one that it
// is back.
func TestFailFast(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	c := sharedtest.Open(t, server.URL())
	var log testutil.LogBuffer
	redisdb.FailFast(c, slog.New(slog.NewTextHandler(&log, nil)))
	ctx := t.Context()
	if err := c.Set(ctx, "a", "b", 0).Err(); err != nil {
		t.Fatal(err)
	}
	// Replies, and callers who give up, are no sign of anything.
	if err := c.Get(ctx, "nothing").Err(); !errors.Is(err, redis.Nil) {
		t.Error(err)
	}
	if err := c.Incr(ctx, "a").Err(); err == nil {
		t.Error("b is no number")
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	_ = c.Get(cancelled, "a").Err()
	if strings.Count(log.String(), "\n") != 0 {
		t.Error("a line, and Redis is there")
	}

	server.Kill()
	var refused int
	for range 1000 {
		if _, err := c.Pipelined(ctx, func(p redis.Pipeliner) error { p.Get(ctx, "a"); return nil }); err == nil {
			t.Fatal("Redis is dead and answers")
		}
		if errors.Is(c.Get(ctx, "a").Err(), redisdb.ErrAway) {
			refused++
		}
	}
	if refused < 900 || strings.Count(log.String(), "redis does not answer") != 1 {
		t.Errorf("%d of 1000 failed at once, %d lines", refused, strings.Count(log.String(), "redis does not answer"))
	}
	server.Restart(t)
	for deadline := time.Now().Add(time.Minute); c.Get(ctx, "a").Err() != redis.Nil; {
		if time.Now().After(deadline) {
			t.Fatal("Redis is back and nobody notices")
		}
		<-time.After(10 * time.Millisecond)
	}
	if strings.Count(log.String(), "redis answers again") != 1 {
		t.Error("no line that it is back")
	}
}
