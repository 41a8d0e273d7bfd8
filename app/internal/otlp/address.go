// Package otlp sends the spans of a process to an OpenTelemetry Collector, by OTLP over
// HTTP with protobuf (https://opentelemetry.io/docs/specs/otlp/#otlphttp).
//
//	Start ─► sampler ─► span ─► processor ──sampled, or of a failed trace──► queue ─► sender ─► Collector
//	         sampled or         holds the spans of traces                    2048     backoff
//	         only recorded      that are not sampled                         spans    after an error
//
// Nothing in a request waits for the Collector. Spans that cannot be sent are counted and
// dropped.
package otlp

import (
	"errors"
	"net"
	"net/url"
	"strconv"
)

const (
	defaultPort = "4318"
	defaultPath = "/v1/traces"
)

// Address is the address of a Collector.
type Address struct {
	Host   string // host:port
	Path   string
	Secure bool // HTTPS
}

// Parse parses otlp://HOST[:PORT][/PATH], or otlps:// for HTTPS. The default port is
// 4318, the default path /v1/traces.
func Parse(text string) (Address, error) {
	u, err := url.Parse(text)
	if err != nil {
		return Address{}, errors.New("is not a URL: use otlp://HOST:4318")
	}
	switch {
	case u.Scheme != "otlp" && u.Scheme != "otlps":
		return Address{}, errors.New("begins neither with otlp:// nor with otlps://")
	case u.Hostname() == "":
		return Address{}, errors.New("has no host: use otlp://HOST:4318")
	case u.User != nil:
		return Address{}, errors.New("must not contain a user: set the variable OTEL_EXPORTER_OTLP_HEADERS for credentials")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return Address{}, errors.New("must not contain a query or a fragment")
	}
	a := Address{Host: u.Host, Path: u.Path, Secure: u.Scheme == "otlps"}
	if u.Port() == "" {
		a.Host = net.JoinHostPort(u.Hostname(), defaultPort)
	} else if n, err := strconv.Atoi(u.Port()); err != nil || n < 1 || n > 65535 {
		return Address{}, errors.New("has a port that is not between 1 and 65535")
	}
	if a.Path == "" || a.Path == "/" {
		a.Path = defaultPath
	}
	return a, nil
}
