package server

import "time"

// instant is a time of the monotonic clock, as the nanoseconds since a point before the first
// request. The zero instant means no time. It costs half as much as a time.Time, for which
// two clocks are read.
type instant int64

var clockStart = time.Now().Add(-1)

func now() instant { return instant(time.Since(clockStart)) }

func (at instant) add(d time.Duration) instant { return at + instant(d) }

func (at instant) sub(other instant) time.Duration { return time.Duration(at - other) }

// time returns the same time as a time.Time, which has a reading of the monotonic clock.
func (at instant) time() time.Time { return clockStart.Add(time.Duration(at)) }
