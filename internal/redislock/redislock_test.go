package redislock

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/galeserver/gale/internal/sharedtest"
	"github.com/galeserver/gale/internal/testutil"
)

var errTimeout = errors.New("timeout")

func acquire(t *testing.T, l *Locks, name string) *Lock {
	t.Helper()
	k, err := l.Acquire(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// A lock has one holder. A waiting Acquire makes the holder release it.
func TestTakeover(t *testing.T) {
	sharedtest.Each(t, func(t *testing.T, address string) {
		a := New(sharedtest.Open(t, address), "test", Options{TTL: time.Hour, Renew: 10 * time.Millisecond})
		b := New(sharedtest.Open(t, address), "test", Options{TTL: time.Hour})
		first := acquire(t, a, "x")
		acquire(t, b, "y").Release() // another name
		acquire(t, New(sharedtest.Open(t, address), "other", Options{}), "x").Release()
		if k, err := b.Try(t.Context(), "x"); k != nil || err != nil {
			t.Errorf("held by two: %v", err)
		}
		short, cancel := context.WithTimeoutCause(t.Context(), 100*time.Millisecond, errTimeout)
		defer cancel()
		if first.Wanted() {
			t.Error("Try has left a note")
		}
		if k, err := b.Acquire(short, "x"); k != nil || !errors.Is(err, errTimeout) {
			t.Errorf("held by two: %v", err)
		}
		released := make(chan struct{})
		go func() { // ends when second asks for the lock
			defer close(released)
			testutil.Eventually(t, "the holder learns that somebody waits", first.Wanted)
			first.Release()
		}()
		second := acquire(t, b, "x")
		<-released
		if second.Wanted() {
			t.Error("the note is still there")
		}
		second.Release()
		acquire(t, a, "x").Release()
	})
}

// The lock of a killed process expires, and its late release has no effect.
func TestExpired(t *testing.T) {
	address := sharedtest.StateServer(t)
	rdb := sharedtest.Open(t, address)
	killed := acquire(t, New(rdb, "test", Options{TTL: 50 * time.Millisecond, Renew: time.Hour}), "x")
	l := New(rdb, "test", Options{TTL: time.Hour, Renew: 10 * time.Millisecond})
	second := acquire(t, l, "x")
	killed.Release()
	if k, err := l.Try(t.Context(), "x"); k != nil || err != nil {
		t.Errorf("released by another: %v", err)
	}
	second.Release()
	stalled := acquire(t, l, "y")
	if err := rdb.Set(t.Context(), stalled.keys[0], "another", time.Hour).Err(); err != nil {
		t.Fatal(err)
	}
	testutil.Eventually(t, "the holder learns that it has lost the lock", stalled.Wanted)
	stalled.Release()
}

// A lock that Redis has forgotten is set again.
func TestForgotten(t *testing.T) {
	rdb := sharedtest.Open(t, sharedtest.StateServer(t))
	k := acquire(t, New(rdb, "test", Options{TTL: time.Hour, Renew: 10 * time.Millisecond}), "x")
	defer k.Release()
	if err := rdb.Del(t.Context(), k.keys[0]).Err(); err != nil {
		t.Fatal(err)
	}
	testutil.Eventually(t, "the lock is set again", func() bool {
		return rdb.Get(t.Context(), k.keys[0]).Val() == k.token
	})
	if k.Wanted() {
		t.Error("nobody waits")
	}
}

// Without Redis there is an error.
func TestUnavailable(t *testing.T) {
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1})
	defer rdb.Close()
	if k, err := New(rdb, "test", Options{}).Acquire(t.Context(), "x"); k != nil || err == nil {
		t.Errorf("%v, %v", k, err)
	}
}
