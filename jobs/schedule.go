package jobs

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// ErrSchedule: the text is no schedule; the error says what it should be.
var ErrSchedule = errors.New("invalid schedule")

// maxSchedule bounds the text of a schedule, in bytes.
const maxSchedule = 256

// minEvery is the shortest interval.
const minEvery = time.Second

// Schedule is a sequence of moments, the same for everyone who asks: also that
// of an interval does not depend on when somebody began to count.
type Schedule struct {
	text  string
	every time.Duration // else cron
	cron  cron.Schedule
}

// ParseSchedule reads a schedule: five cron fields (minute, hour, day of month,
// month, day of week), or six with the second first; @hourly, @daily, @weekly,
// @monthly, @yearly; or "@every 90s", at whole multiples of the interval since
// 1970, UTC. CRON_TZ=Europe/Berlin before the fields names the time zone, which
// otherwise is UTC on every machine. Errors wrap ErrSchedule.
func ParseSchedule(text string) (s Schedule, err error) {
	// The parser panics on some texts that have nothing behind the zone.
	defer func() {
		if v := recover(); v != nil {
			s, err = Schedule{}, fmt.Errorf("%w: %q", ErrSchedule, text)
		}
	}()
	if len(text) > maxSchedule {
		return Schedule{}, fmt.Errorf("%w: longer than %d bytes", ErrSchedule, maxSchedule)
	}
	if every, ok := strings.CutPrefix(text, "@every "); ok {
		d, err := time.ParseDuration(strings.TrimSpace(every))
		if err != nil || d < minEvery || d%time.Second != 0 {
			return Schedule{}, fmt.Errorf("%w: %q is no interval of whole seconds, at least one", ErrSchedule, every)
		}
		return Schedule{text: text, every: d}, nil
	}
	spec := text
	if !strings.HasPrefix(spec, "TZ=") && !strings.HasPrefix(spec, "CRON_TZ=") {
		spec = "CRON_TZ=UTC " + spec
	}
	fields := cron.SecondOptional | cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor
	parsed, err := cron.NewParser(fields).Parse(spec)
	if err != nil {
		return Schedule{}, fmt.Errorf("%w: %q: %w", ErrSchedule, text, err)
	}
	s = Schedule{text: text, cron: parsed}
	if s.Next(time.Now()).IsZero() {
		return Schedule{}, fmt.Errorf("%w: %q never comes", ErrSchedule, text)
	}
	return s, nil
}

// Next returns the first moment after t, in whole seconds; zero if there is
// none within five years.
func (s Schedule) Next(t time.Time) time.Time {
	if s.every > 0 {
		step := int64(s.every / time.Second)
		return time.Unix((t.Unix()/step+1)*step, 0).UTC()
	}
	if s.cron == nil {
		return time.Time{}
	}
	next := s.cron.Next(t)
	if next.IsZero() {
		return next
	}
	return next.UTC()
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
