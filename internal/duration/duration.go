// Package duration parses durations that users write.
package duration

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"time"
)

// Errors of Parse and ParseSeconds. Each is the rest of a sentence after the name of the
// value.
var (
	ErrInvalid  = errors.New("is not a duration, such as 90s")
	errNegative = errors.New("is negative")
	errTooLong  = errors.New("is too long")
)

// Parse parses a Go duration such as 90s (time.ParseDuration), which must not be
// negative. A duration of less than a nanosecond, but not zero, is rounded up to one.
func Parse(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	switch {
	case err != nil:
		return 0, ErrInvalid
	case d < 0:
		return 0, errNegative
	case d == 0 && strings.ContainsAny(text, "123456789"):
		return 1, nil
	}
	return d, nil
}

// ParseSeconds is Parse for a number of seconds, which may have a fraction.
func ParseSeconds(text string) (time.Duration, error) {
	s, err := strconv.ParseFloat(text, 64)
	ns := math.Round(s * float64(time.Second))
	switch {
	case ns >= math.MaxInt64:
		return 0, errTooLong
	case err != nil || math.IsNaN(s):
		return 0, ErrInvalid
	case s < 0:
		return 0, errNegative
	case s > 0:
		return max(time.Duration(ns), 1), nil
	}
	return 0, nil
}
