package driver

import (
	"time"

	"github.com/galeserver/gale/jobs"
)

// RateSlack is the tolerance for late starts of rate-limited attempts. If a start is late by
// up to RateSlack, the next start may be early by the same time, so that the rate stays the
// same.
const RateSlack = 100 * time.Millisecond

// MayStart reports whether an attempt limited by r may start now. next is the earliest time
// of the start, as returned by the last call of Start. It is ignored if it is more than one
// interval away, because then the clock was set back or the rate was lower before. Times
// are in microseconds since 1970.
func MayStart(r jobs.Rate, next, now int64) bool {
	return next <= now || next > now+r.Interval().Microseconds()
}

// Start reports whether an attempt may start now, as MayStart does. after is the new value
// of next, which the store must keep: the earliest time of the following start. The method
// is the generic cell rate algorithm (ITU-T I.371, annex A) with RateSlack as the
// tolerance.
func Start(r jobs.Rate, next, now int64) (after int64, ok bool) {
	if !MayStart(r, next, now) {
		return next, false
	}
	return max(min(next, now), now-RateSlack.Microseconds()) + r.Interval().Microseconds(), true
}
