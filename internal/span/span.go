package span

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"time"
)

// ErrSpan: the text is no length of time; the error says why.
var (
	ErrSpan     = errors.New("is no duration, such as 90s")
	errNegative = errors.New("is negative")
	errTooLong  = errors.New("is too long")
)

// ParseSpan reads a Go duration such as 90s, which must not be negative. What
// is more than zero stays so, however little it is.
func ParseSpan(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	switch {
	case err != nil:
		return 0, ErrSpan
	case d < 0:
		return 0, errNegative
	case d == 0 && strings.ContainsAny(text, "123456789"):
		return 1, nil
	}
	return d, nil
}

// ParseSeconds is ParseSpan for a number of seconds, decimal or not.
func ParseSeconds(text string) (time.Duration, error) {
	s, err := strconv.ParseFloat(text, 64)
	ns := math.Round(s * float64(time.Second))
	switch {
	case ns >= math.MaxInt64:
		return 0, errTooLong
	case err != nil || math.IsNaN(s):
		return 0, ErrSpan
	case s < 0:
		return 0, errNegative
	case s > 0:
		return max(time.Duration(ns), 1), nil
	}
	return 0, nil
}
