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

// wheel is a timer wheel: all connections share one ticker, which stands still while there
// are no timers. With a timer of the runtime for each connection, the process would wake up
// far more often.
type wheel struct {
	began time.Time
	wake  chan struct{} // signal that there is a timer; capacity 1

	mu    sync.Mutex
	now   int64                          // ticks since began
	slots [slotCount]map[*timer]struct{} // pending timers by at modulo slotCount
	count int                            // number of timers
}

// timer is one scheduled call.
type timer struct {
	at   int64  // tick at which it is due
	call func() // must not block
}

func newWheel() *wheel { return &wheel{began: time.Now(), wake: make(chan struct{}, 1)} }

// start schedules a timer: run calls it after d, or up to two ticks later.
func (w *wheel) start(a *timer, d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.count == 0 {
		w.now = max(w.now, w.elapsed())
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
	w.count++
	a.at = w.now + 1 + int64((d+tick-1)/tick)
	slot := &w.slots[a.at%slotCount]
	if *slot == nil {
		*slot = make(map[*timer]struct{})
	}
	(*slot)[a] = struct{}{}
}

// elapsed returns the ticks since began.
func (w *wheel) elapsed() int64 { return int64(time.Since(w.began) / tick) }

// stop removes a timer. It does nothing if the timer has fired.
func (w *wheel) stop(a *timer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	slot := w.slots[a.at%slotCount]
	if _, found := slot[a]; found {
		delete(slot, a)
		w.count--
	}
}

// run fires timers until ctx ends.
func (w *wheel) run(ctx context.Context) {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		next := ticker.C
		if w.idle() {
			next = nil
		}
		select {
		case <-ctx.Done():
			return
		case <-next:
			for w.advance(w.elapsed()) {
			}
		case <-w.wake:
		}
	}
}

func (w *wheel) idle() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.count == 0
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
			w.count--
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
