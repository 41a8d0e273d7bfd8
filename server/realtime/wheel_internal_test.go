package realtime

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// turning runs a wheel for the rest of a bubble.
func turning(t *testing.T, w *wheel) {
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { w.run(ctx) }) // ends with cancel
	t.Cleanup(func() { cancel(); running.Wait() })
}

func (w *wheel) waiting() (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, spoke := range w.slots {
		n += len(spoke)
	}
	return n
}

// An alarm comes when it is due, or up to two ticks later, however far away that
// is; one that was stopped does not.
func TestWheel(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWheel()
		turning(t, w)
		began := time.Now()
		const longest = 3 * slotCount * tick // three times round
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
				t.Errorf("after %v came what was due after %v, want %v", took, got, d)
			}
		}
		if n := w.waiting(); n != 0 {
			t.Errorf("%d alarms are left", n)
		}
	})
}

// A connection that has ended leaves no alarm behind, or those who come and go
// would be held in memory until their time.
func TestTimersEndWithTheConnection(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := New(Options{})
		turning(t, h.wheel)
		o := &outbox{hub: h}
		called := 0
		o.schedule(tick, func() { called++ })
		o.schedule(time.Minute, func() { t.Error("called") })
		time.Sleep(time.Second)
		if n := h.wheel.waiting(); called != 1 || n != 1 {
			t.Errorf("called %d times, %d alarms wait", called, n)
		}
		o.end()
		o.schedule(tick, func() { t.Error("called behind the end") })
		if n := h.wheel.waiting(); n != 0 {
			t.Errorf("%d alarms are left", n)
		}
		time.Sleep(2 * time.Minute)
	})
}
