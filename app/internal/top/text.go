package top

import (
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/rivo/uniseg"
)

// tint is the meaning of a part of a line.
type tint int

const (
	tintPlain tint = iota
	tintHeading
	tintSelected
	tintGood
	tintBusy
	tintBad
)

// span is a part of a line with one tint.
type span struct {
	text string
	tint tint
}

// line is a line of the page, from left to right.
type line []span

func (l line) String() string {
	var b strings.Builder
	for _, s := range l {
		b.WriteString(s.text)
	}
	return b.String()
}

// width returns the number of terminal columns that a text takes.
func width(s string) int { return uniseg.StringWidth(s) }

// clean replaces everything that is not printable, so that a text of a task can neither
// control the terminal nor change the direction of other text.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
}

// fit cleans a text and cuts or pads it to exactly n columns.
func fit(s string, n int, right bool) string {
	s = clean(s)
	if width(s) > n {
		s = cut(s, n)
	}
	pad := strings.Repeat(" ", max(n-width(s), 0))
	if right {
		return pad + s
	}
	return s + pad
}

// cut returns the beginning of s in less than n columns, and an ellipsis.
func cut(s string, n int) string {
	if n < 1 {
		return ""
	}
	var b strings.Builder
	for used, rest, state := 0, s, -1; rest != ""; {
		var cluster string
		var columns int
		cluster, rest, columns, state = uniseg.FirstGraphemeClusterInString(rest, state)
		if used += columns; used > n-1 {
			break
		}
		b.WriteString(cluster)
	}
	return b.String() + "…"
}

// age returns a duration in one unit, in at most four columns.
func age(d time.Duration) string {
	switch d = max(d, 0); {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

// optional formats a number; a negative one is not known.
func optional(format string, v float64) string {
	if v < 0 {
		return "-"
	}
	return fmt.Sprintf(format, v)
}
