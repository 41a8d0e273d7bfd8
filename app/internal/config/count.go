package config

import (
	"errors"
	"strconv"
	"strings"
)

// count is a flag.Value for a positive number, or "off", which is stored as 0.
type count struct{ n *int }

// String returns the number or "off".
func (c count) String() string {
	if c.n == nil || *c.n == 0 {
		return "off"
	}
	return strconv.Itoa(*c.n)
}

// Set parses the form that String returns.
func (c count) Set(text string) error {
	n, err := strconv.Atoi(text)
	switch {
	case text == "off":
		n = 0
	case err != nil || n <= 0:
		return errors.New("must be a number above zero, or off")
	}
	*c.n = n
	return nil
}

// sampling is a flag.Value for a sampling rate: "off" (stored as 0), "all" (1), or
// "1 in N" or "N" (N).
type sampling struct{ every *int }

// String returns the rate as "off", "all" or "1 in N".
func (s sampling) String() string {
	switch {
	case s.every == nil || *s.every == 0:
		return "off"
	case *s.every == 1:
		return "all"
	}
	return "1 in " + strconv.Itoa(*s.every)
}

// Set parses the forms that String returns, and a number alone.
func (s sampling) Set(text string) error {
	switch text {
	case "off":
		*s.every = 0
		return nil
	case "all":
		*s.every = 1
		return nil
	}
	n, err := strconv.Atoi(strings.TrimPrefix(text, "1 in "))
	if err != nil || n <= 0 {
		return errors.New("must be off, all, or 1 in N")
	}
	*s.every = n
	return nil
}
