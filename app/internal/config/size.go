package config

import (
	"errors"
	"math"
	"strconv"
	"strings"
)

// size is a flag.Value for a number of bytes, with an optional unit KiB, MiB or GiB.
type size struct{ n *int64 }

func newSize(n *int64, value int64) size {
	*n = value
	return size{n}
}

var units = []struct {
	suffix string
	shift  uint
}{{"GiB", 30}, {"MiB", 20}, {"KiB", 10}}

// String returns the size in the largest unit that divides it.
func (s size) String() string {
	if s.n == nil { // package flag calls String on a zero value
		return ""
	}
	for _, u := range units {
		if *s.n != 0 && *s.n%(1<<u.shift) == 0 {
			return strconv.FormatInt(*s.n>>u.shift, 10) + u.suffix
		}
	}
	return strconv.FormatInt(*s.n, 10)
}

// Set parses the form that String returns, with optional spaces before the unit.
func (s size) Set(text string) error {
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
		return errors.New("must be a number of bytes, or a number with KiB, MiB or GiB")
	}
	*s.n = n << shift
	return nil
}
