package schedule

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/netresearch/go-cron"
)

// ErrInvalid is the error of Parse for a text that is not a schedule. The error text contains
// the reason.
var ErrInvalid = errors.New("invalid schedule")

// maxSchedule is the largest size of the text of a schedule, in bytes.
const maxSchedule = 256

// minInterval is the smallest interval of @every.
const minInterval = time.Second

// searchYears is the longest time between two occurrences of a schedule, in years. The
// longest is that from a 29 February on a given day of the week to the next such day, if
// the year 2100, which has no 29 February, is between them.
const searchYears = 40

// Schedule is a sequence of times, its occurrences. It is the same in all processes: an
// interval is counted from 1970, not from the start of the process.
type Schedule struct {
	text  string
	every time.Duration // interval of @every; 0 for a cron expression
	// clock is the cron expression. It computes local times, expressed as if they were UTC.
	clock cron.Schedule
	zone  *time.Location
	fixed bool // true if second, minute and hour have no wildcard
}

// Parse reads a schedule in one of these forms:
//   - five cron fields (minute, hour, day of month, month, day of week), or six with the
//     second first
//   - @hourly, @daily, @weekly, @monthly or @yearly
//   - @every 90s: at whole multiples of the interval since 1970, UTC
//
// CRON_TZ=Europe/Berlin before the fields sets the time zone; the default is UTC. Errors
// wrap ErrInvalid.
func Parse(text string) (Schedule, error) {
	if len(text) > maxSchedule {
		return Schedule{}, fmt.Errorf("%w: longer than %d bytes", ErrInvalid, maxSchedule)
	}
	s := Schedule{text: text}
	err := s.parse()
	if err == nil && s.Next(time.Now()).IsZero() {
		err = errors.New("it has no occurrence")
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
			return errors.New("@every takes no time zone")
		}
	}
	if every, ok := strings.CutPrefix(spec, "@every "); ok {
		s.every, err = time.ParseDuration(strings.TrimSpace(every))
		if err != nil || s.every < minInterval || s.every%time.Second != 0 {
			return fmt.Errorf("%q must be a duration of whole seconds, at least 1s", every)
		}
		return nil
	}
	options := cron.SecondOptional | cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor
	fields := strings.Fields(spec)
	switch {
	case len(fields) == 0:
		return errors.New("it is empty")
	case len(fields) == 1:
		s.fixed = spec != "@hourly"
	case len(fields) == 5 || len(fields) == 6:
		if err := checkFields(fields); err != nil {
			return err
		}
		ofTime, ofDay := fields[:len(fields)-3], fields[len(fields)-3:]
		s.fixed = !strings.ContainsAny(strings.Join(ofTime, " "), wildcards)
		// If both day fields are restricted, a match of either is enough: crontab(5).
		// A field that starts with a wildcard is not restricted, even with a step:
		// entry.c of cron.
		if !strings.ContainsAny(ofDay[0][:1]+ofDay[2][:1], wildcards) {
			options |= cron.DowOrDom
		}
	}
	s.clock, err = cron.MustNewParser(options).WithMaxSearchYears(searchYears).Parse("CRON_TZ=UTC " + spec)
	return err
}

// Next returns the first occurrence after t, in whole seconds, or zero if there is none.
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

// last returns the last occurrence that is later than after and not later than until, or
// zero. It searches backwards from until in growing steps, because computing every
// occurrence since after would be slow if that is years ago.
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

// Upcoming returns the next n occurrences after t; fewer if there are not so many.
func (s Schedule) Upcoming(t time.Time, n int) []time.Time {
	all := []time.Time{}
	for at := s.Next(t); len(all) < n && !at.IsZero(); at = s.Next(at) {
		all = append(all, at)
	}
	return all
}

// String returns the text that was given to Parse.
func (s Schedule) String() string { return s.text }

// Fixed reports whether the schedule has fixed times: second, minute and hour have no wildcard.
func (s Schedule) Fixed() bool { return s.fixed }
