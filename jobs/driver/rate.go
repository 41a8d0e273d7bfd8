package driver

import (
	"time"

	"github.com/galeserver/gale/jobs"
)

// RateSlack is how late a rate-limited start may be without lowering the rate: the
// start after it may come earlier by the same time.
const RateSlack = 100 * time.Millisecond

// MayStart reports whether an attempt limited by r may start now. next is the
// earliest time that was stored for it. A next further away than one interval is
// ignored: the clock was set back, or the rate was a lower one. Times are in
// microseconds.
func MayStart(r jobs.Rate, next, now int64) bool {
	return next <= now || next > now+r.Interval().Microseconds()
}

// Start is MayStart, and returns the earliest time of the start after this one, which
// the store keeps. It is the generic cell rate algorithm (ITU-T I.371, annex A) with
// RateSlack as the tolerance.
func Start(r jobs.Rate, next, now int64) (after int64, ok bool) {
	if !MayStart(r, next, now) {
		return next, false
	}
	return max(min(next, now), now-RateSlack.Microseconds()) + r.Interval().Microseconds(), true
}
