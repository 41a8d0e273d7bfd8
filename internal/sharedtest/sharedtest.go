// Package sharedtest starts, for tests, the two kinds of servers in which processes of
// Gale share state: a redis-server, and the embedded state server.
package sharedtest

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/galeserver/gale/internal/redisdb"
	"github.com/galeserver/gale/internal/redistest"
	"github.com/galeserver/gale/internal/stateserver"
)

// Each runs test as two subtests, with each kind of server. address is for redisdb.Open.
func Each(t *testing.T, test func(t *testing.T, address string)) {
	t.Helper()
	t.Run("state server", func(t *testing.T) { test(t, StateServer(t)) })
	t.Run("redis-server", func(t *testing.T) { test(t, redistest.Start(t).URL()) })
}

// Open makes a client that is closed at the end of the test.
func Open(t testing.TB, address string) redis.UniversalClient {
	t.Helper()
	c, err := redisdb.Open(address, redisdb.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// StateServer runs an embedded state server until the test ends. It returns its address,
// for redisdb.Open.
func StateServer(t *testing.T) string {
	t.Helper()
	reservation, err := stateserver.Reserve("")
	if err != nil {
		t.Fatal(err)
	}
	ln, err := stateserver.Listen(t.Context(), reservation.Addr)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- stateserver.Serve(ctx, ln, "secret", time.Millisecond) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := reservation.Release(); err != nil {
			t.Error(err)
		}
	})
	return "redis://:secret@" + reservation.Addr
}
