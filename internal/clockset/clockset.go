// Package clockset notices that the wall clock of the machine was set forward.
package clockset

import (
	"sync"
	"time"
)

// Pause is the time for which nothing should be deleted by age after the clock was set forward by
// more than Pause. A clock that was set by mistake can be corrected in this time.
const Pause = time.Hour

// Step returns by how much the clock was set forward between two results of time.Now. It is negative
// if the clock was set back.
func Step(from, to time.Time) time.Duration {
	return to.Round(0).Sub(from.Round(0)) - to.Sub(from)
}

// start is the time before the first call of any Guard.
var start = time.Now()

// Guard protects what is deleted by age from a clock that was set by mistake. The zero value
// compares the clock with the start of the process.
type Guard struct {
	mu    sync.Mutex
	last  time.Time // of the last call
	until time.Time // end of the pause
}

// Paused reports whether nothing should be deleted by age at now, a result of time.Now. set is
// true in the first call after the clock was set.
func (g *Guard) Paused(now time.Time) (paused, set bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	last := g.last
	if last.IsZero() {
		last = start
	}
	g.last = now
	return g.paused(now, Step(last, now))
}

// paused is Paused for a clock that was set forward by step.
func (g *Guard) paused(now time.Time, step time.Duration) (paused, set bool) {
	switch {
	case step > Pause:
		g.until = now.Add(Pause)
		return true, true
	case step < -Pause: // corrected
		g.until = time.Time{}
	}
	return now.Before(g.until), false
}
