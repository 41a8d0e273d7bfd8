package config

import (
	"math"
	"net/url"
	"strings"

	"github.com/galeserver/gale/app/internal/otlp"
)

// checkTrace checks -trace, -trace-sample and -trace-link.
func (f *flags) checkTrace(c *Config) {
	if c.Trace != "" {
		if _, err := otlp.Parse(c.Trace); err != nil && strings.Contains(c.Trace, "@") { // it may contain a password
			f.fault("-trace: %v", err)
		} else if err != nil {
			f.fault("-trace: %q %v", c.Trace, err)
		}
	}
	if c.TraceSample < 0 || c.TraceSample > 1 || math.IsNaN(c.TraceSample) {
		f.fault("-trace-sample: %v is not between 0 and 1", c.TraceSample)
	}
	if c.Trace == "" && f.given["trace-sample"] {
		f.fault("-trace-sample: needs -trace")
	}
	f.checkTraceLink(c)
}

// traceID is the placeholder for the trace id in -trace-link.
const traceID = "{id}"

func (f *flags) checkTraceLink(c *Config) {
	if c.TraceLink == "" {
		return
	}
	u, err := url.Parse(c.TraceLink)
	switch {
	case err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "":
		f.fault("-trace-link: is not a URL that begins with http:// or https://")
	case u.User != nil: // every user of the console would see the password
		f.fault("-trace-link: must not contain a user or a password")
	case strings.Contains(u.Host, traceID):
		f.fault("-trace-link: %q has %s in the host; it belongs after the host", c.TraceLink, traceID)
	case strings.Count(c.TraceLink, traceID) != 1:
		f.fault("-trace-link: %q does not contain %s exactly once; the trace id replaces it", c.TraceLink, traceID)
	}
}
