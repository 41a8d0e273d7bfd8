package schedule

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/netresearch/go-cron"
)

// ErrInvalid: the text is no schedule; the error says what it should be.
var ErrInvalid = errors.New("invalid schedule")

// maxSchedule bounds the text of a schedule, in bytes.
const maxSchedule = 256

// minEvery is the shortest interval.
const minEvery = time.Second

// searchYears is the longest time between two moments of a schedule: from
// 29 February on one day of the week to the next, over a year 2100 without one.
const searchYears = 40

// Schedule is a sequence of moments, the same for everyone who asks: also that
// of an interval does not depend on when somebody began to count.
type Schedule struct {
	text  string
	every time.Duration // else the fields below
	// clock yields times on the clock on the wall, written as if they were UTC.
	clock cron.Schedule
	zone  *time.Location
	fixed bool // times of day, as opposed to a schedule with a wildcard
}

// Parse reads a schedule: five cron fields (minute, hour, day of month,
// month, day of week), or six with the second first; @hourly, @daily, @weekly,
// @monthly, @yearly; or "@every 90s", at whole multiples of the interval since
// 1970, UTC. CRON_TZ=Europe/Berlin before the fields names the time zone, which
// otherwise is UTC on every machine. Errors wrap ErrInvalid.
func Parse(text string) (Schedule, error) {
	if len(text) > maxSchedule {
		return Schedule{}, fmt.Errorf("%w: longer than %d bytes", ErrInvalid, maxSchedule)
	}
	s := Schedule{text: text}
	err := s.parse()
	if err == nil && s.Next(time.Now()).IsZero() {
		err = errors.New("never comes")
	}
	if err != nil {
		return Schedule{}, fmt.Errorf("%w: %q: %w", ErrInvalid, text, err)
	}
	return s, nil
}

func (s *Schedule) parse() (err error) {
	spec := strings.TrimSpace(s.text)
	s.zone = time.UTC
	if name, ok := zonePrefix(spec); ok {
		name, spec, _ = strings.Cut(name, " ")
		if s.zone, err = loadZone(name); err != nil {
			return err
		}
		if spec = strings.TrimSpace(spec); strings.HasPrefix(spec, "@every") {
			return errors.New("an interval has no time zone")
		}
	}
	if every, ok := strings.CutPrefix(spec, "@every "); ok {
		s.every, err = time.ParseDuration(strings.TrimSpace(every))
		if err != nil || s.every < minEvery || s.every%time.Second != 0 {
			return fmt.Errorf("%q is no interval of whole seconds, at least one", every)
		}
		return nil
	}
	options := cron.SecondOptional | cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor
	fields := strings.Fields(spec)
	switch {
	case len(fields) == 0:
		return errors.New("no fields")
	case len(fields) == 1:
		s.fixed = spec != "@hourly"
	case len(fields) == 5 || len(fields) == 6:
		if err := checkFields(fields); err != nil {
			return err
		}
		ofTime, ofDay := fields[:len(fields)-3], fields[len(fields)-3:]
		s.fixed = !strings.ContainsAny(strings.Join(ofTime, " "), wildcards)
		// Of two restricted fields for the day either is enough: crontab(5). One
		// that begins with a wildcard does not restrict, also with a step: cron's
		// entry.c.
		if !strings.ContainsAny(ofDay[0][:1]+ofDay[2][:1], wildcards) {
			options |= cron.DowOrDom
		}
	}
	s.clock, err = cron.MustNewParser(options).WithMaxSearchYears(searchYears).Parse("CRON_TZ=UTC " + spec)
	return err
}

// Next returns the first moment after t, in whole seconds; zero if there is none.
func (s Schedule) Next(t time.Time) time.Time {
	if s.every > 0 {
		step := int64(s.every / time.Second)
		return time.Unix((t.Unix()/step+1)*step, 0).UTC()
	}
	if s.clock == nil {
		return time.Time{}
	}
	for p := periodAt(t.In(s.zone)); ; p = periodAt(p.end) {
		at := s.nextIn(p, t)
		if at.IsZero() || p.end.IsZero() || at.Before(p.end) {
			return at
		}
		t = p.end.Add(-time.Second)
	}
}

// last returns the last moment after one time and not after another; zero if
// there is none. It looks back over spans that grow, so that years of seconds
// are not gone through.
func (s Schedule) last(after, until time.Time) (last time.Time) {
	for span := time.Minute; ; span *= 2 {
		from := until.Add(-span)
		if span > 0 && from.After(after) && s.Next(from).After(until) {
			continue
		}
		if span <= 0 || from.Before(after) {
			from = after
		}
		for at := s.Next(from); !at.IsZero() && !at.After(until); at = s.Next(at) {
			last = at
		}
		return last
	}
}

// String is the text that it was read from.
func (s Schedule) String() string { return s.text }
