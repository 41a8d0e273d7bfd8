package stateserver_test

import (
	"context"
	"errors"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/galeserver/gale/internal/sharedtest"
	"github.com/galeserver/gale/internal/stateserver"

	"github.com/redis/go-redis/v9"
)

func TestKeysExpireByThemselves(t *testing.T) {
	t.Parallel()
	c := sharedtest.Open(t, sharedtest.Memory(t))
	if err := c.Set(t.Context(), "short", "1", 200*time.Millisecond).Err(); err != nil {
		t.Fatal(err)
	}
	if err := c.Set(t.Context(), "long", "1", time.Hour).Err(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); c.Get(t.Context(), "short").Err() == nil; {
		if time.Now().After(deadline) {
			t.Fatal("it does not expire")
		}
		<-time.After(10 * time.Millisecond)
	}
	if left := c.TTL(t.Context(), "long").Val(); left > time.Hour || left < time.Hour-time.Minute {
		t.Errorf("an hour has become %v", left)
	}
}

func TestPasswordIsNeeded(t *testing.T) {
	t.Parallel()
	right := sharedtest.Memory(t)
	o, err := redis.ParseURL(right)
	if err != nil {
		t.Fatal(err)
	}
	for _, url := range []string{"redis://" + o.Addr, "redis://:wrong@" + o.Addr} {
		if err := sharedtest.Open(t, url).Set(t.Context(), "a", "b", 0).Err(); err == nil {
			t.Errorf("%s may write", url)
		}
	}
}

// The port stays with the place while nobody listens, and while one after the
// other does.
func TestPlaceIsKept(t *testing.T) {
	t.Parallel()
	place, err := stateserver.Reserve("")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := net.Dial("tcp", place.Addr); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("nobody listens, and dialling says %v", err)
	}
	if _, err := net.Listen("tcp", place.Addr); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("somebody else gets the port: %v", err)
	}
	for range 3 {
		ln, err := stateserver.Listen(t.Context(), place.Addr)
		if err != nil {
			t.Fatal(err)
		}
		nc, err := net.Dial("tcp", place.Addr)
		if err != nil {
			t.Fatal(err)
		}
		nc.Close()
		ln.Close()
	}
	// The master that follows keeps the same place, also while somebody listens.
	again, err := stateserver.Reserve(place.Addr)
	if err != nil || again.Addr != place.Addr {
		t.Errorf("%+v, %v", again, err)
	}
	for _, addr := range []string{"nonsense", "192.0.2.1:80", "127.0.0.1:99999"} {
		if _, err := stateserver.Reserve(addr); err == nil {
			t.Errorf("%s is reserved", addr)
		}
	}
	if err := errors.Join(place.Release(), again.Release()); err != nil {
		t.Error(err)
	}
}

// A leaving store waits for those that still use it.
func TestServeLeavesLast(t *testing.T) {
	t.Parallel()
	ln, err := stateserver.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- stateserver.Serve(ctx, ln, "secret", time.Minute) }()
	c := sharedtest.Open(t, "redis://:secret@"+ln.Addr().String())
	if err := c.Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	cancel()
	for range 20 { // for as long as one that does not wait would need to be gone
		if err := c.Set(t.Context(), "a", "b", 0).Err(); err != nil {
			t.Fatalf("a client that is still there: %v", err)
		}
		<-time.After(10 * time.Millisecond)
	}
	select {
	case err := <-done:
		t.Fatalf("it left before its client: %v", err)
	default:
	}
	_ = c.Close()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Error("it stays for nobody")
	}
}
