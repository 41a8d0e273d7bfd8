package schedule

import "time"

// When the clocks of a zone are changed by no more than three hours, schedules
// do as cron(8) of Debian does. Those of fixed times, without a wildcard in
// second, minute or hour, neither miss a time nor run one twice: what falls into
// the skipped hour runs right after it, and what falls into the repeated hour
// runs in the first of the two. Those with a wildcard follow the new time at
// once: they go on at their interval, also through both hours. systemd.time(7)
// leaves it open; systemd's timers skip what falls into the skipped hour.
// A greater change, of a zone that moves to the other side of the date line, is
// a correction of the clock: all schedules follow the new time.
const greatestChange = 3 * time.Hour

// maxMakeUp is for how long what was skipped runs, a time in each second: long
// enough for every minute of greatestChange.
const maxMakeUp = 5 * time.Minute

// period is a span of time in which the clocks of a zone are not changed.
type period struct {
	start, end time.Time     // zero if there is none
	offset     time.Duration // of its clocks to UTC
	change     time.Duration // by how much they were put forward at its start
}

func periodAt(t time.Time) period {
	offset := func(t time.Time) time.Duration {
		_, seconds := t.Zone()
		return time.Duration(seconds) * time.Second
	}
	p := period{offset: offset(t)}
	p.start, p.end = t.ZoneBounds()
	if !p.end.IsZero() && !p.end.After(t) {
		// Behind the table of a zone, ZoneBounds takes every year for 365 days,
		// so that 31 December of a leap year is after its end.
		p.end = t.Add(24 * time.Hour)
	}
	if !p.start.IsZero() {
		p.change = p.offset - offset(p.start.Add(-time.Second))
	}
	if p.change.Abs() > greatestChange {
		p.change = 0
	}
	return p
}

// clock is what a clock on the wall shows in the period, as if it were UTC.
func (p period) clock(t time.Time) time.Time { return t.UTC().Add(p.offset) }

// nextIn returns the first moment after t, if the clocks were never changed
// again after those of the period.
func (s Schedule) nextIn(p period, t time.Time) time.Time {
	from := p.clock(t)
	if s.fixed && p.change < 0 { // what the clock shows again has run
		if repeated := p.clock(p.start).Add(-p.change - time.Second); from.Before(repeated) {
			from = repeated
		}
	}
	at := s.clock.Next(from)
	if !at.IsZero() {
		at = at.Add(-p.offset)
	}
	if late := s.nextSkipped(p, t); !late.IsZero() && (at.IsZero() || late.Before(at)) {
		return late
	}
	return at
}

// nextSkipped returns the first moment after t at which a time is run that was
// skipped at the start of the period; zero if there is none. Each has a second
// of its own, the first that the schedule does not need for another, since a
// moment is one task. What finds none within maxMakeUp is skipped after all: it
// takes a schedule of more than one second in a minute.
func (s Schedule) nextSkipped(p period, t time.Time) time.Time {
	free, limit := p.start, p.start.Add(min(p.change, maxMakeUp))
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
