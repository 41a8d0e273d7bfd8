package config

import "github.com/galeserver/gale/internal/bytesize"

// size is a flag.Value for a number of bytes, with an optional unit KiB, MiB or GiB.
type size struct{ n *int64 }

func newSize(n *int64, value int64) size {
	*n = value
	return size{n}
}

// String returns the size in the largest unit that divides it.
func (s size) String() string {
	if s.n == nil { // package flag calls String on a zero value
		return ""
	}
	return bytesize.Format(*s.n)
}

// Set parses the form that String returns, with optional spaces before the unit.
func (s size) Set(text string) error {
	n, err := bytesize.Parse(text)
	if err == nil {
		*s.n = n
	}
	return err
}
