package cache_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/galeserver/gale/internal/redistest"
	"github.com/galeserver/gale/internal/sharedtest"
	"github.com/galeserver/gale/pool"
	"github.com/galeserver/gale/server/cache"
)

// Of a thousand concurrent callers in four processes, one computes. The same happens again
// when the value has expired.
func TestStampede(t *testing.T) {
	t.Parallel()
	sharedtest.Each(t, func(t *testing.T, address string) {
		var caches []*cache.Cache
		var counted cache.Counters
		for range 4 {
			caches = append(caches, cache.New(sharedtest.Open(t, address), cache.Options{Counters: &counted}))
		}
		var computed, fresh atomic.Int64
		for round := range 2 {
			var all sync.WaitGroup
			for i := range 1000 {
				all.Go(func() { // ends with the result of Get
					value, mine, err := caches[i%4].Get(t.Context(), fmt.Sprint("key", round), time.Hour, func(context.Context) (string, error) {
						computed.Add(1)
						<-time.After(100 * time.Millisecond)
						return "value", nil
					})
					if value != "value" || err != nil {
						t.Errorf("%q, %v", value, err)
					}
					if mine {
						fresh.Add(1)
					}
				})
			}
			all.Wait()
			if want := int64(round + 1); computed.Load() != want || fresh.Load() != want {
				t.Errorf("round %d: computed %d times, fresh for %d", round, computed.Load(), fresh.Load())
			}
		}
		if counted.Misses.Load() != 2 || counted.Hits.Load() != 1998 || counted.Errors.Load() != 0 {
			t.Errorf("counted %+v", &counted)
		}
	})
}

func TestExpiry(t *testing.T) {
	t.Parallel()
	sharedtest.Each(t, func(t *testing.T, address string) {
		c := cache.New(sharedtest.Open(t, address), cache.Options{})
		n := 0
		get := func(key string, keep time.Duration) (string, bool) {
			value, fresh, err := c.Get(t.Context(), key, keep, func(context.Context) (string, error) {
				n++
				return fmt.Sprint(n), nil
			})
			if err != nil {
				t.Fatal(err)
			}
			return value, fresh
		}
		if value, fresh := get("long", time.Hour); value != "1" || !fresh {
			t.Errorf("first: %q, %v", value, fresh)
		}
		if value, fresh := get("long", time.Hour); value != "1" || fresh {
			t.Errorf("second: %q, %v", value, fresh)
		}
		if value, fresh := get("short", 100*time.Millisecond); value != "2" || !fresh {
			t.Errorf("another key: %q, %v", value, fresh)
		}
		for deadline := time.Now().Add(time.Minute); ; {
			if value, fresh := get("short", 100*time.Millisecond); fresh {
				if value != "3" {
					t.Errorf("after expiry: %q", value)
				}
				return
			}
			if time.Now().After(deadline) {
				t.Fatal("it does not expire")
			}
		}
	})
}

func TestErrorsArePassedOnAndNotKept(t *testing.T) {
	t.Parallel()
	sharedtest.Each(t, func(t *testing.T, address string) {
		var counted cache.Counters
		c := cache.New(sharedtest.Open(t, address), cache.Options{Lease: time.Hour, Counters: &counted}) // nothing may wait for it
		broken := errors.New("broken")
		if _, fresh, err := c.Get(t.Context(), "key", time.Hour, func(context.Context) (string, error) { return "x", broken }); !errors.Is(err, broken) || fresh {
			t.Errorf("%v, %v", fresh, err)
		}
		_, _, err := c.Get(t.Context(), "key", time.Hour, func(context.Context) (string, error) { panic("at the disco") })
		if _, ok := errors.AsType[*pool.PanicError](err); !ok {
			t.Errorf("panic: %v", err)
		}
		if value, fresh, err := c.Get(t.Context(), "key", time.Hour, func(context.Context) (string, error) { return "good", nil }); value != "good" || !fresh || err != nil {
			t.Errorf("%q, %v, %v", value, fresh, err)
		}
		if counted.Misses.Load() != 1 || counted.Hits.Load() != 0 || counted.Errors.Load() != 2 {
			t.Errorf("counted %+v", &counted)
		}
	})
}

// If the computing process exits, another caller computes when the lease has expired. A caller
// that exceeds its lease does not replace a newer value.
func TestLease(t *testing.T) {
	t.Parallel()
	sharedtest.Each(t, func(t *testing.T, address string) {
		slow := cache.New(sharedtest.Open(t, address), cache.Options{Lease: 100 * time.Millisecond})
		quick := cache.New(sharedtest.Open(t, address), cache.Options{})
		inside, gate, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
		go func() { // ends with the result of Get
			defer close(done)
			value, _, err := slow.Get(t.Context(), "key", time.Hour, func(context.Context) (string, error) {
				close(inside)
				<-gate
				return "late", nil
			})
			if value != "late" || err != nil {
				t.Errorf("%q, %v", value, err)
			}
		}()
		<-inside
		if value, fresh, err := quick.Get(t.Context(), "key", time.Hour, func(context.Context) (string, error) { return "new", nil }); value != "new" || !fresh || err != nil {
			t.Errorf("%q, %v, %v", value, fresh, err)
		}
		close(gate)
		<-done
		if value, _, err := quick.Get(t.Context(), "key", time.Hour, nil); value != "new" || err != nil {
			t.Errorf("what is kept: %q, %v", value, err)
		}
	})
}

func TestAway(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	c := cache.New(sharedtest.Open(t, server.URL()), cache.Options{})
	server.Kill()
	for range 2 {
		value, fresh, err := c.Get(t.Context(), "key", time.Hour, func(context.Context) (string, error) { return "value", nil })
		if value != "value" || !fresh || err != nil {
			t.Errorf("without Redis: %q, %v, %v", value, fresh, err)
		}
	}
}

func TestCallerLeaves(t *testing.T) {
	t.Parallel()
	c := cache.New(sharedtest.Open(t, sharedtest.StateServer(t)), cache.Options{})
	inside, gate, kept := make(chan struct{}), make(chan struct{}), make(chan struct{})
	left := errors.New("left")
	ctx, leave := context.WithCancelCause(t.Context())
	go func() { // ends when leave is called
		defer close(kept)
		if _, _, err := c.Get(ctx, "key", time.Hour, func(context.Context) (string, error) {
			close(inside)
			<-gate
			return "value", nil
		}); !errors.Is(err, left) {
			t.Errorf("%v; want the cause", err)
		}
	}()
	<-inside
	leave(left)
	<-kept
	close(gate)
	if value, _, err := c.Get(t.Context(), "key", time.Hour, func(context.Context) (string, error) { return "other", nil }); value != "value" || err != nil {
		t.Errorf("the others: %q, %v", value, err)
	}
}

// The ttl that compute returns decides how long a value is stored.
func TestGetFor(t *testing.T) {
	t.Parallel()
	sharedtest.Each(t, func(t *testing.T, address string) {
		c := cache.New(sharedtest.Open(t, address), cache.Options{})
		for ttl, want := range map[time.Duration]int{time.Hour: 1, 0: 2} {
			computed := 0
			for range 2 {
				before := computed
				value, fresh, err := c.GetFor(t.Context(), ttl.String(), func(context.Context) (string, time.Duration, error) {
					computed++
					return "value", ttl, nil
				})
				if value != "value" || fresh != (computed > before) || err != nil {
					t.Errorf("ttl %v: %q, %v, %v", ttl, value, fresh, err)
				}
			}
			if computed != want {
				t.Errorf("ttl %v: computed %d times, want %d", ttl, computed, want)
			}
		}
	})
}
