package realtime

import (
	"context"
	"math"
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

// wheel is a timer wheel: all connections share one timer of the runtime, which waits for the
// next slot with timers. With one for each connection, the process would wake up far more
// often.
type wheel struct {
	began time.Time
	wake  chan struct{} // signal that next is earlier than before; capacity 1

	mu    sync.Mutex
	now   int64                          // ticks since began, up to which timers have fired
	next  int64                          // tick for which run waits
	slots [slotCount]map[*timer]struct{} // pending timers by at modulo slotCount
	count int                            // number of timers
}

// never is a tick that is not reached.
const never = math.MaxInt64

// timer is one scheduled call.
type timer struct {
	at   int64  // tick at which it is due
	call func() // must not block
}

func newWheel() *wheel { return &wheel{began: time.Now(), wake: make(chan struct{}, 1), next: never} }

// start schedules a timer: run calls it after d, or up to two ticks later.
func (w *wheel) start(a *timer, d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := max(w.now, w.elapsed())
	if w.count == 0 {
		w.now = now
	}
	w.count++
	a.at = now + 1 + int64((d+tick-1)/tick)
	if a.at < w.next {
		w.next = a.at
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
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
	alarm := time.NewTimer(0)
	defer alarm.Stop()
	for {
		due := alarm.C
		if next := w.plan(); next == never {
			due = nil
		} else {
			alarm.Reset(time.Until(w.began.Add(time.Duration(next) * tick)))
		}
		select {
		case <-ctx.Done():
			return
		case <-due:
			for w.advance(w.elapsed()) {
			}
		case <-w.wake:
		}
	}
}

// plan sets next to the tick of the next slot with timers, and returns it.
func (w *wheel) plan() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.next = never
	if w.count > 0 {
		w.next = w.now + 1
		for len(w.slots[w.next%slotCount]) == 0 {
			w.next++
		}
	}
	return w.next
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

// timestamp is a time that several goroutines may set and compare. It is a time of the monotonic
// clock, because the wall clock may be set back.
type timestamp struct{ at atomic.Int64 } // nanoseconds since timestampStart

var timestampStart = time.Now()

func (h *timestamp) set() { h.at.Store(int64(time.Since(timestampStart))) }

// after reports whether the timestamp is not before t, a result of time.Now.
func (h *timestamp) after(t time.Time) bool { return h.at.Load() >= int64(t.Sub(timestampStart)) }
