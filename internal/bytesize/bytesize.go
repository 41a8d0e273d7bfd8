// Package bytesize converts sizes in bytes to text and back, with the units KiB, MiB and GiB.
package bytesize

import (
	"errors"
	"math"
	"strconv"
	"strings"
)

var units = []struct {
	suffix string
	shift  uint
}{{"GiB", 30}, {"MiB", 20}, {"KiB", 10}}

// Format returns the size in the largest unit that divides it.
func Format(n int64) string {
	for _, u := range units {
		if n != 0 && n%(1<<u.shift) == 0 {
			return strconv.FormatInt(n>>u.shift, 10) + u.suffix
		}
	}
	return strconv.FormatInt(n, 10)
}

// Parse parses the form that Format returns, with optional spaces before the unit. The error
// says which forms are valid.
func Parse(text string) (int64, error) {
	shift := uint(0)
	number := text
	for _, u := range units {
		if rest, ok := strings.CutSuffix(text, u.suffix); ok {
			number, shift = strings.TrimSpace(rest), u.shift
			break
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64>>shift {
		return 0, errors.New("must be a number of bytes, or a number with KiB, MiB or GiB")
	}
	return n << shift, nil
}
