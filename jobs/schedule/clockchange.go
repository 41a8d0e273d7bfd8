package schedule

import "time"

// maxChange is the largest clock change that schedules compensate, as cron(8) of Debian
// does. A schedule of fixed times, without a wildcard in second, minute or hour, neither
// misses a time nor runs it twice: a time in the skipped hour runs right after that hour,
// and a time in the repeated hour runs only the first time. A schedule with a wildcard
// follows the new clock at once and continues at its interval; it also runs in the second
// of the two equal hours. (systemd.time(7) does not define this; systemd timers skip the
// times in the skipped hour.)
//
// A larger change, such as that of a zone which moves across the date line, is treated
// as a correction of the clock: all schedules follow the new clock.
const maxChange = 3 * time.Hour

// maxCatchUp is the time after a change in which skipped times run, one in each second. It
// is long enough for a schedule with one occurrence in each minute of maxChange.
const maxCatchUp = 5 * time.Minute

// period is the time between two clock changes of a zone.
type period struct {
	start, end time.Time     // zero if unlimited
	offset     time.Duration // offset of the clocks to UTC
	change     time.Duration // clock change at start; positive is forward
}

// periodAt returns the period of t's zone that contains t.
func periodAt(t time.Time) period {
	offset := func(t time.Time) time.Duration {
		_, seconds := t.Zone()
		return time.Duration(seconds) * time.Second
	}
	p := period{offset: offset(t)}
	p.start, p.end = t.ZoneBounds()
	if !p.end.IsZero() && !p.end.After(t) {
		// After the end of a zone's table, ZoneBounds assumes years of 365 days, so
		// it ends the period of 31 December of a leap year too early.
		p.end = t.Add(24 * time.Hour)
	}
	if !p.start.IsZero() {
		p.change = p.offset - offset(p.start.Add(-time.Second))
	}
	if p.change.Abs() > maxChange {
		p.change = 0
	}
	return p
}

// clock returns the local time at t, expressed as if it were UTC.
func (p period) clock(t time.Time) time.Time { return t.UTC().Add(p.offset) }

// nextIn returns the first occurrence after t, which is in p. The end of p is ignored; the
// caller must check it.
func (s Schedule) nextIn(p period, t time.Time) time.Time {
	from := p.clock(t)
	if s.fixed && p.change < 0 { // the times of the repeated hour have already run
		if repeated := p.clock(p.start).Add(-p.change - time.Second); from.Before(repeated) {
			from = repeated
		}
	}
	at := s.clock.Next(from)
	if !at.IsZero() {
		at = at.Add(-p.offset)
	}
	if skipped := s.nextSkipped(p, t); !skipped.IsZero() && (at.IsZero() || skipped.Before(at)) {
		return skipped
	}
	return at
}

// nextSkipped returns the first occurrence after t that replaces a time skipped at the
// start of the period, or zero. Each replaced time gets a second of its own in which the
// schedule has no other occurrence, because all occurrences in one second are one task.
// A time that gets no second within maxCatchUp is dropped; this takes a schedule with
// more than one occurrence a minute.
func (s Schedule) nextSkipped(p period, t time.Time) time.Time {
	free, limit := p.start, p.start.Add(min(p.change, maxCatchUp))
	if !s.fixed || !t.Before(limit) {
		return time.Time{}
	}
	resumed := p.clock(p.start)
	for at := s.clock.Next(resumed.Add(-p.change - time.Second)); at.Before(resumed) && !at.IsZero(); at = s.clock.Next(at) {
		for free.Before(limit) && s.clock.Next(p.clock(free).Add(-time.Second)).Equal(p.clock(free)) {
			free = free.Add(time.Second)
		}
		if !free.Before(limit) {
			break
		}
		if free.After(t) {
			return free.UTC()
		}
		free = free.Add(time.Second)
	}
	return time.Time{}
}
