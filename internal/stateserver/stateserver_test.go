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
	c := sharedtest.Open(t, sharedtest.StateServer(t))
	if err := c.Set(t.Context(), "short", "1", 200*time.Millisecond).Err(); err != nil {
		t.Fatal(err)
	}
	if err := c.Set(t.Context(), "long", "1", time.Hour).Err(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); c.Get(t.Context(), "short").Err() == nil; {
		if time.Now().After(deadline) {
			t.Fatal("the key does not expire")
		}
		<-time.After(10 * time.Millisecond)
	}
	if left := c.TTL(t.Context(), "long").Val(); left > time.Hour || left < time.Hour-time.Minute {
		t.Errorf("TTL %v; want an hour", left)
	}
}

func TestPasswordIsRequired(t *testing.T) {
	t.Parallel()
	address := sharedtest.StateServer(t)
	o, err := redis.ParseURL(address)
	if err != nil {
		t.Fatal(err)
	}
	for _, url := range []string{"redis://" + o.Addr, "redis://:wrong@" + o.Addr} {
		if err := sharedtest.Open(t, url).Set(t.Context(), "a", "b", 0).Err(); err == nil {
			t.Errorf("%s: SET succeeded; want an error", url)
		}
	}
}

// A port stays reserved while no process listens on it, and while several listen one after
// another.
func TestPortStaysReserved(t *testing.T) {
	t.Parallel()
	reservation, err := stateserver.Reserve("")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := net.Dial("tcp", reservation.Addr); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("dial without a listener: %v; want connection refused", err)
	}
	if _, err := net.Listen("tcp", reservation.Addr); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("listen without SO_REUSEPORT: %v; want address already in use", err)
	}
	for range 3 {
		ln, err := stateserver.Listen(t.Context(), reservation.Addr)
		if err != nil {
			t.Fatal(err)
		}
		nc, err := net.Dial("tcp", reservation.Addr)
		if err != nil {
			t.Fatal(err)
		}
		nc.Close()
		ln.Close()
	}
	// After a reload the new master reserves the same port.
	again, err := stateserver.Reserve(reservation.Addr)
	if err != nil || again.Addr != reservation.Addr {
		t.Errorf("%+v, %v", again, err)
	}
	for _, addr := range []string{"nonsense", "192.0.2.1:80", "127.0.0.1:99999"} {
		if _, err := stateserver.Reserve(addr); err == nil {
			t.Errorf("%s: no error", addr)
		}
	}
	if err := errors.Join(reservation.Release(), again.Release()); err != nil {
		t.Error(err)
	}
}

// A draining server serves its clients until they disconnect.
func TestServeDrains(t *testing.T) {
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
	for range 20 { // long enough for a server that does not wait to return
		if err := c.Set(t.Context(), "a", "b", 0).Err(); err != nil {
			t.Fatalf("SET of a connected client: %v", err)
		}
		<-time.After(10 * time.Millisecond)
	}
	select {
	case err := <-done:
		t.Fatalf("Serve returned before the client disconnected: %v", err)
	default:
	}
	_ = c.Close()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Error("Serve does not return although no client is connected")
	}
}
