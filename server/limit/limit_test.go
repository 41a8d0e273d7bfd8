package limit_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/galeserver/gale/internal/redistest"
	"github.com/galeserver/gale/internal/sharedtest"
	"github.com/galeserver/gale/server/limit"
)

func TestTake(t *testing.T) {
	t.Parallel()
	sharedtest.Each(t, func(t *testing.T, address string) {
		rdb := sharedtest.Open(t, address)
		// A window of an hour: no test is slow enough to earn a request in it.
		var counted limit.Counters
		l := limit.New(rdb, limit.Options{Name: "three", Limit: 3, Window: 3 * time.Hour, Counters: &counted})
		for i, want := range []struct {
			granted   bool
			remaining int
		}{{true, 2}, {true, 1}, {true, 0}, {false, 0}, {false, 0}} {
			d, err := l.Take(t.Context(), "me")
			if err != nil || d.Granted != want.granted || d.Remaining != want.remaining || d.Limit != 3 || d.Window != 3*time.Hour {
				t.Errorf("request %d: %+v, %v", i, d, err)
			}
			if wait := d.RetryAfter.Round(time.Minute); want.remaining == 0 && wait != time.Hour || want.remaining > 0 && wait != 0 {
				t.Errorf("request %d: retry after %v", i, wait)
			}
			if reset, hours := d.Reset.Round(time.Minute), time.Duration(min(i+1, 3)); reset != hours*time.Hour {
				t.Errorf("request %d: reset after %v", i, reset)
			}
		}
		if counted.Granted.Load() != 3 || counted.Refused.Load() != 2 || counted.Errors.Load() != 0 {
			t.Errorf("counted %+v", &counted)
		}
		if d, err := l.Take(t.Context(), "you"); err != nil || !d.Granted {
			t.Errorf("another key: %+v, %v", d, err)
		}
		if d, err := limit.New(rdb, limit.Options{Limit: 3}).Take(t.Context(), "me"); err != nil || !d.Granted {
			t.Errorf("another limiter: %+v, %v", d, err)
		}
	})
}

// After the clock of Redis was set back by hours, a key does not wait until it has caught up.
func TestClockIsSetBack(t *testing.T) {
	t.Parallel()
	sharedtest.Each(t, func(t *testing.T, address string) {
		rdb := sharedtest.Open(t, address)
		l := limit.New(rdb, limit.Options{Name: "ahead", Limit: 3, Window: time.Minute})
		ahead := time.Now().Add(5 * time.Hour).UnixMicro() // what an earlier request has stored
		if err := rdb.Set(t.Context(), "gale:limit:ahead:me", ahead, 0).Err(); err != nil {
			t.Fatal(err)
		}
		for i, granted := range []bool{true, false} {
			d, err := l.Take(t.Context(), "me")
			if err != nil || d.Granted != granted || d.RetryAfter > time.Minute || d.Reset > time.Minute {
				t.Errorf("request %d: %+v, %v", i, d, err)
			}
		}
	})
}

func TestTimeEarnsRequests(t *testing.T) {
	t.Parallel()
	sharedtest.Each(t, func(t *testing.T, address string) {
		l := limit.New(sharedtest.Open(t, address), limit.Options{Window: 300 * time.Millisecond})
		granted, began := 0, time.Now()
		for deadline := time.Now().Add(time.Minute); granted < 4 && time.Now().Before(deadline); {
			d, err := l.Take(t.Context(), "me")
			if err != nil {
				t.Fatal(err)
			}
			if d.Granted {
				granted++
			}
		}
		if granted < 4 {
			t.Fatalf("granted %d", granted)
		}
		if took := time.Since(began); took < 900*time.Millisecond {
			t.Errorf("four in %v", took)
		}
	})
}

func TestAtOnce(t *testing.T) {
	t.Parallel()
	sharedtest.Each(t, func(t *testing.T, address string) {
		var granted atomic.Int64
		var all sync.WaitGroup
		for i := range 4 { // as many processes
			l := limit.New(sharedtest.Open(t, address), limit.Options{Limit: 5, Window: time.Hour})
			for range 25 {
				all.Go(func() { // ends with the result of Take
					for _, key := range []string{"same", fmt.Sprint("own", i)} {
						d, err := l.Take(t.Context(), key)
						if err != nil {
							t.Error(err)
						}
						if d.Granted {
							granted.Add(1)
						}
					}
				})
			}
		}
		all.Wait()
		if granted.Load() != 5+4*5 {
			t.Errorf("granted %d, want 25", granted.Load())
		}
	})
}

func TestAway(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	var counted limit.Counters
	l := limit.New(sharedtest.Open(t, server.URL()), limit.Options{Counters: &counted})
	if _, err := l.Take(t.Context(), "me"); err != nil {
		t.Fatal(err)
	}
	server.Kill()
	if d, err := l.Take(t.Context(), "me"); err == nil {
		t.Errorf("no error, but %+v", d)
	}
	if counted.Granted.Load() != 1 || counted.Refused.Load() != 0 || counted.Errors.Load() != 1 {
		t.Errorf("counted %+v", &counted)
	}
}
