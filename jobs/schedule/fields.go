package schedule

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// wildcards are the characters that match all values of a field.
const wildcards = "*?"

// zonePrefix cuts CRON_TZ= or TZ= from the start of a schedule.
func zonePrefix(spec string) (rest string, ok bool) {
	if rest, ok = strings.CutPrefix(spec, "CRON_TZ="); ok {
		return rest, true
	}
	return strings.CutPrefix(spec, "TZ=")
}

// loadZone loads a time zone. It refuses zones that differ between machines.
func loadZone(name string) (*time.Location, error) {
	switch strings.ToLower(name) {
	case "":
		return nil, errors.New("CRON_TZ is empty: set a time zone, such as CRON_TZ=Europe/Berlin")
	case "local", "localtime":
		return nil, fmt.Errorf("CRON_TZ=%s differs between machines: set a time zone by name, such as CRON_TZ=Europe/Berlin", name)
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("CRON_TZ: %w", err)
	}
	return zone, nil
}

// fieldBounds are the smallest and largest value of each field, and the three-letter
// names of its values.
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

// checkFields refuses ranges that the parser would misread: it wraps 61-5 and 70/5
// around, and it counts one day too many in FRI-MON/2.
func checkFields(fields []string) error {
	bounds := fieldBounds[len(fieldBounds)-len(fields):]
	for i, field := range fields {
		b := bounds[i]
		value := func(text string) int {
			if n := strings.Index(b.names, strings.ToLower(text)); len(text) == 3 && n >= 0 && n%3 == 0 {
				return b.min + n/3
			}
			n, _ := strconv.Atoi(text) // the parser refuses any other text
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
				return fmt.Errorf("%s: the end of the range %s is before its start", b.name, span)
			}
		}
	}
	return nil
}
