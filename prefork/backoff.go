package prefork

import (
	"math/rand/v2"
	"slices"
	"time"
)

// Backoff is the delay before a slot starts a process after the last one died by
// itself. There is none after the first death; each further one within the
// window doubles it. There is no lifetime cap: a slot without a death for a
// whole window starts again without delay.
type Backoff struct {
	Window   time.Duration // how long a death counts. Default 5 min
	Min, Max time.Duration // delay after the second death, and its cap. Default 100 ms, 5 s
}

func (b Backoff) withDefaults() Backoff {
	if b.Window <= 0 {
		b.Window = 5 * time.Minute
	}
	if b.Min <= 0 {
		b.Min = 100 * time.Millisecond
	}
	if b.Max <= 0 {
		b.Max = 5 * time.Second
	}
	return b
}

// exitTimes are the times at which a slot's processes died, oldest first.
type exitTimes []time.Time

// add notes a death and forgets those outside the window; it returns how long
// to wait before the next start, with up to a tenth of jitter so that slots
// which died together do not come back together.
func (d *exitTimes) add(now time.Time, b Backoff) time.Duration {
	*d = append(slices.DeleteFunc(*d, func(t time.Time) bool { return now.Sub(t) >= b.Window }), now)
	n := len(*d)
	if n == 1 {
		return 0
	}
	delay := b.Max
	if shift := n - 2; shift < 30 && b.Min<<shift < b.Max {
		delay = b.Min << shift
	}
	return delay + rand.N(delay/10+1)
}
