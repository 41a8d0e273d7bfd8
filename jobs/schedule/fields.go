package schedule

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// wildcards stand for all values of a field.
const wildcards = "*?"

// zonePrefix returns what follows CRON_TZ= or TZ= at the start of a schedule.
func zonePrefix(spec string) (rest string, ok bool) {
	if rest, ok = strings.CutPrefix(spec, "CRON_TZ="); ok {
		return rest, true
	}
	return strings.CutPrefix(spec, "TZ=")
}

// loadZone loads a time zone that is the same on every machine.
func loadZone(name string) (*time.Location, error) {
	switch strings.ToLower(name) {
	case "":
		return nil, errors.New("CRON_TZ is empty: name a time zone, like CRON_TZ=Europe/Berlin")
	case "local", "localtime":
		return nil, fmt.Errorf("CRON_TZ=%s is another time zone on every machine: name one, like CRON_TZ=Europe/Berlin", name)
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("CRON_TZ: %w", err)
	}
	return zone, nil
}

// fieldBounds are the values of each field, and their names of three letters.
var fieldBounds = [...]struct {
	name     string
	min, max int
	names    string
}{
	{"second", 0, 59, ""},
	{"minute", 0, 59, ""},
	{"hour", 0, 23, ""},
	{"day of month", 1, 31, ""},
	{"month", 1, 12, "janfebmaraprmayjunjulaugsepoctnovdec"},
	{"day of week", 0, 7, "sunmontuewedthufrisat"},
}

// checkFields refuses ranges that the parser would take for others: it counts
// 61-5 and 70/5 from the start again, and FRI-MON/2 with one day too many.
func checkFields(fields []string) error {
	bounds := fieldBounds[len(fieldBounds)-len(fields):]
	for i, field := range fields {
		b := bounds[i]
		value := func(text string) int {
			if n := strings.Index(b.names, strings.ToLower(text)); len(text) == 3 && n >= 0 && n%3 == 0 {
				return b.min + n/3
			}
			n, _ := strconv.Atoi(text) // the parser refuses what is neither
			return n
		}
		for part := range strings.SplitSeq(field, ",") {
			span, _, _ := strings.Cut(part, "/")
			low, high, isRange := strings.Cut(span, "-")
			switch {
			case part == "":
				return fmt.Errorf("%s: empty value in %q", b.name, field)
			case value(low) > b.max:
				return fmt.Errorf("%s: %s is above %d", b.name, low, b.max)
			case isRange && value(low) > value(high):
				return fmt.Errorf("%s: the range %s ends before it begins", b.name, span)
			}
		}
	}
	return nil
}
