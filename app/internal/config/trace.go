package config

import (
	"strings"

	"github.com/galeserver/gale/app/internal/otlp"
)

// checkTrace checks -trace and -trace-sample.
func (f *flags) checkTrace(c *Config) {
	if c.Trace != "" {
		if _, err := otlp.Parse(c.Trace); err != nil && strings.Contains(c.Trace, "@") { // it may contain a password
			f.fault("-trace: %v", err)
		} else if err != nil {
			f.fault("-trace: %q %v", c.Trace, err)
		}
	}
	if !(c.TraceSample >= 0 && c.TraceSample <= 1) { // also true for NaN
		f.fault("-trace-sample: %v is not between 0 and 1", c.TraceSample)
	}
	if c.Trace == "" && f.given["trace-sample"] {
		f.fault("-trace-sample: needs -trace")
	}
}
