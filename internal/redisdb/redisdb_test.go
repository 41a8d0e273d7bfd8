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
		"redis://h?pool_size=0":          "not a Redis address: pool_size must be more than zero",
		"":                               "not a Redis address: invalid URL scheme",
		"localhost:6379":                 "not a Redis address: ",
		"http://host":                    "not a Redis address: invalid URL scheme: http",
		"redis://host/x":                 "not a Redis address: invalid database number",
		"redis://host?nonsense=1":        "not a Redis address: unexpected option: nonsense",
		"unix://":                        "not a Redis address: ",
		"redis://:se cret@host:port":     "not a Redis address: ",
		"redis://a,":                     "not a Redis address: invalid URL scheme",
		"redis://a,unix:///run/x":        "a cluster cannot be reached over unix://",
		"redis://a,rediss://b":           "all addresses of a cluster are redis://, or all are rediss://",
		"redis://a/1,redis://b":          "a cluster has database 0 only",
		"redis://:s3cret@ho st,redis://": "not a Redis address: ",
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
		// A client represents no retries by another number.
		if got := c.(*redis.Client).Options().MaxRetries; max(got, 0) != max(want, 0) {
			t.Errorf("%s: %d retries, want %d", address, got, want)
		}
		_ = c.Close()
	}
	if c, err := redisdb.Open("redis://a:1,redis://b:2", redisdb.Options{}); err != nil {
		t.Error(err)
	} else if _, ok := c.(*redis.ClusterClient); !ok {
		t.Errorf("several addresses: %T; want a cluster client", c)
	}
}

// While Redis is unavailable commands fail immediately. One line is logged when that begins,
// and one when it ends.
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
	// An error response and a cancelled context do not mean that Redis is unavailable.
	if err := c.Get(ctx, "nothing").Err(); !errors.Is(err, redis.Nil) {
		t.Error(err)
	}
	if err := c.Incr(ctx, "a").Err(); err == nil {
		t.Error("no error from INCR of a text")
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	_ = c.Get(cancelled, "a").Err()
	if strings.Count(log.String(), "\n") != 0 {
		t.Errorf("a line, although Redis is available: %s", log.String())
	}

	server.Kill()
	var refused int
	for range 1000 {
		if _, err := c.Pipelined(ctx, func(p redis.Pipeliner) error { p.Get(ctx, "a"); return nil }); err == nil {
			t.Fatal("no error, although Redis is killed")
		}
		if errors.Is(c.Get(ctx, "a").Err(), redisdb.ErrUnavailable) {
			refused++
		}
	}
	if refused < 900 || strings.Count(log.String(), "redis does not respond") != 1 {
		t.Errorf("%d of 1000 failed immediately, %d lines; want 900 and 1", refused, strings.Count(log.String(), "redis does not respond"))
	}
	server.Restart(t)
	for deadline := time.Now().Add(time.Minute); c.Get(ctx, "a").Err() != redis.Nil; {
		if time.Now().After(deadline) {
			t.Fatal("commands still fail, although Redis is available again")
		}
		<-time.After(10 * time.Millisecond)
	}
	if strings.Count(log.String(), "redis responds again") != 1 {
		t.Errorf("want one line that Redis responds again: %s", log.String())
	}
}
