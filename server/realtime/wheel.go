package realtime

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// tick is the resolution of the wheel.
	tick = 100 * time.Millisecond
	// slotCount is the number of slots. One revolution takes slotCount ticks; a timer
	// that is due later waits for several revolutions.
	slotCount = 1024
)

// wheel is a timer wheel: all connections share one ticker. With a timer of the runtime for
// each connection, the process would wake up far more often.
type wheel struct {
	mu    sync.Mutex
	now   int64                          // ticks since the start
	slots [slotCount]map[*timer]struct{} // pending timers by at modulo slotCount
}

// timer is one scheduled call.
type timer struct {
	at   int64  // tick at which it is due
	call func() // must not block
}

func newWheel() *wheel { return new(wheel) }

// start schedules a timer: run calls it after d, or up to two ticks later.
func (w *wheel) start(a *timer, d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	a.at = w.now + 1 + int64((d+tick-1)/tick)
	slot := &w.slots[a.at%slotCount]
	if *slot == nil {
		*slot = make(map[*timer]struct{})
	}
	(*slot)[a] = struct{}{}
}

// stop removes a timer. It does nothing if the timer has fired.
func (w *wheel) stop(a *timer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.slots[a.at%slotCount], a)
}

// run fires timers until ctx ends.
func (w *wheel) run(ctx context.Context) {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	began := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		for due := int64(time.Since(began) / tick); w.advance(due); {
		}
	}
}

// advance moves the wheel by one tick and calls the timers that are due. It returns false if
// the wheel has already reached tick due.
func (w *wheel) advance(due int64) bool {
	w.mu.Lock()
	if w.now >= due {
		w.mu.Unlock()
		return false
	}
	w.now++
	var calls []func()
	slot := w.slots[w.now%slotCount]
	for a := range slot {
		if a.at <= w.now {
			calls = append(calls, a.call)
			delete(slot, a)
		}
	}
	w.mu.Unlock()
	for _, call := range calls {
		call()
	}
	return true
}

// timestamp is a time that several goroutines may set and compare.
type timestamp struct{ at atomic.Int64 }

func (h *timestamp) set() { h.at.Store(time.Now().UnixNano()) }

func (h *timestamp) after(t time.Time) bool { return h.at.Load() >= t.UnixNano() }
