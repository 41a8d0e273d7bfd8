package realtime

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// runWheel runs a wheel until the synctest bubble ends.
func runWheel(t *testing.T, w *wheel) {
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { w.run(ctx) }) // ends with cancel
	t.Cleanup(func() { cancel(); running.Wait() })
}

func (w *wheel) pending() (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, slot := range w.slots {
		n += len(slot)
	}
	if n != w.count {
		panic("the count of timers is wrong")
	}
	return n
}

// A timer fires when it is due or up to two ticks later, even if it needs several revolutions.
// A stopped timer does not fire.
func TestWheel(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWheel()
		runWheel(t, w)
		began := time.Now()
		const longest = 3 * slotCount * tick // three revolutions
		calls := make(chan time.Duration, 10)
		for _, d := range []time.Duration{0, tick, 10 * tick, longest} {
			w.start(&timer{call: func() { calls <- d }}, d)
		}
		stopped := &timer{call: func() { t.Error("called") }}
		w.start(stopped, 5*tick)
		w.stop(stopped)
		for _, d := range []time.Duration{0, tick, 10 * tick, longest} {
			got, took := <-calls, time.Since(began)
			if got != d || took < d || took > d+2*tick {
				t.Errorf("a timer fired after %v: got the one for %v, want %v", took, got, d)
			}
		}
		if n := w.pending(); n != 0 {
			t.Errorf("%d timers are left", n)
		}
		time.Sleep(time.Hour) // the wheel stands still
		began = time.Now()
		w.start(&timer{call: func() { calls <- tick }}, tick)
		<-calls
		if took := time.Since(began); took < tick || took > 3*tick {
			t.Errorf("after a pause the timer fired after %v", took)
		}
		// While the wheel waits for a late timer, an earlier one is not late.
		late := &timer{call: func() { t.Error("called") }}
		w.start(late, time.Minute)
		time.Sleep(10 * time.Second)
		began = time.Now()
		w.start(&timer{call: func() { calls <- tick }}, tick)
		<-calls
		if took := time.Since(began); took < tick || took > 3*tick {
			t.Errorf("beside a late timer the timer fired after %v", took)
		}
		w.stop(late)
	})
}

// The end of a connection removes its timers. Otherwise they would use memory until they are
// due.
func TestTimersEndWithTheConnection(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := New(Options{})
		runWheel(t, h.wheel)
		o := &outbox{hub: h}
		called := 0
		o.schedule(tick, func() { called++ })
		o.schedule(time.Minute, func() { t.Error("called") })
		time.Sleep(time.Second)
		if n := h.wheel.pending(); called != 1 || n != 1 {
			t.Errorf("called %d times, %d timers are pending", called, n)
		}
		o.end()
		o.schedule(tick, func() { t.Error("called after the end") })
		if n := h.wheel.pending(); n != 0 {
			t.Errorf("%d timers are left", n)
		}
		time.Sleep(2 * time.Minute)
	})
}
