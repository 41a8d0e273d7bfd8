package realtime

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// tick is how exact the wheel is.
	tick = 100 * time.Millisecond
	// spokes times tick is the longest wait; beyond it the wheel goes round again.
	slotCount = 1024
)

// wheel calls functions after a while: one ticker for a process, where a timer
// or a ticker for each connection would wake it for each.
type wheel struct {
	mu    sync.Mutex
	now   int64 // ticks since the beginning
	slots [slotCount]map[*timer]struct{}
}

// alarm is one call to come.
type timer struct {
	at   int64
	call func() // must not block
}

func newWheel() *wheel { return new(wheel) }

// start has an alarm called in d, or up to two ticks later, from the goroutine of
// run, unless it is stopped before.
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

// stop takes an alarm back that was started; one that has been called is fine.
func (w *wheel) stop(a *timer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.slots[a.at%slotCount], a)
}

// run turns the wheel until ctx ends.
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

// turn goes one tick on, unless it is not yet due.
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

// heard is when a client was last heard of.
type timestamp struct{ at atomic.Int64 }

func (h *timestamp) set() { h.at.Store(time.Now().UnixNano()) }

func (h *timestamp) after(t time.Time) bool { return h.at.Load() >= t.UnixNano() }
