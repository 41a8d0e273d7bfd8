// Package sharedtest gives tests the two servers that Gale shares state through:
// a redis-server of their own, and the store slot.
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

// Each runs test against either server; address is for redisdb.Open.
func Each(t *testing.T, test func(t *testing.T, address string)) {
	t.Helper()
	t.Run("store slot", func(t *testing.T) { test(t, Memory(t)) })
	t.Run("redis-server", func(t *testing.T) { test(t, redistest.Start(t).URL()) })
}

// Open opens a client that ends with the test.
func Open(t *testing.T, address string) redis.UniversalClient {
	t.Helper()
	c, err := redisdb.Open(address, redisdb.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// Memory runs a store slot's server until the test ends and returns its address.
func Memory(t *testing.T) string {
	t.Helper()
	place, err := stateserver.Reserve("")
	if err != nil {
		t.Fatal(err)
	}
	ln, err := stateserver.Listen(t.Context(), place.Addr)
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
		if err := place.Release(); err != nil {
			t.Error(err)
		}
	})
	return "redis://:secret@" + place.Addr
}
