package driver

import "time"

// ByPresentClock returns the time on the present wall clock at which t will be. It differs from t
// if t has a reading of the monotonic clock and the wall clock was set since then.
func ByPresentClock(t time.Time) time.Time {
	if t.Round(0) == t { // no reading: a time of day
		return t
	}
	now := time.Now()
	return now.Round(0).Add(t.Sub(now))
}
