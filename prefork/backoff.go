package prefork

import (
	"math/rand/v2"
	"slices"
	"time"
)

// Backoff configures the delay between the unexpected exit of a process and the
// next start in its slot. The first unexpected exit causes no delay. Each further
// one within Window doubles the delay, up to Max. The number of restarts is not
// limited. Exits older than Window no longer count.
type Backoff struct {
	Window time.Duration // time for which an exit counts. Default 5 min
	Min    time.Duration // delay after the second exit within Window. Default 100 ms
	Max    time.Duration // longest delay. Default 5 s
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

// exitTimes are the times of the unexpected exits in a slot, oldest first.
type exitTimes []time.Time

// add records an exit, drops the exits outside the window, and returns the delay
// before the next start. The delay has up to 10 % of jitter, so that slots whose
// processes exited together do not start together.
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
