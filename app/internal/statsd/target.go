// Package statsd sends the metrics of a server to a statsd daemon by UDP, in the format of
// statsd (https://github.com/statsd/statsd/blob/master/docs/metric_types.md) or with the
// tags of DogStatsD (https://docs.datadoghq.com/developers/dogstatsd/datagram_shell/).
package statsd

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

// Target is where metrics are sent, and in which form.
type Target struct {
	Address string // host:port
	Prefix  string // first part of every name
	Tags    bool   // send labels as tags of DogStatsD, not as parts of the name
}

// defaultPrefix is the default of Target.Prefix.
const defaultPrefix = "gale"

var (
	validHost   = regexp.MustCompile(`^[A-Za-z0-9._:%-]+$`)
	validPrefix = regexp.MustCompile(`^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$`)
)

// Parse parses a target: HOST:PORT, with the optional parameters tags=datadog and
// prefix=NAME, as in HOST:PORT?tags=datadog&prefix=shop. The error says which part is wrong.
// A host name is not resolved.
func Parse(text string) (Target, error) {
	address, query, _ := strings.Cut(text, "?")
	t := Target{Address: address, Prefix: defaultPrefix}
	host, port, err := net.SplitHostPort(address)
	n, errPort := strconv.Atoi(port)
	if err != nil || !validHost.MatchString(host) || errPort != nil || n < 1 || n > 65535 {
		return t, fmt.Errorf("%q is not host:port, such as 127.0.0.1:8125", address)
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return t, errors.New("the parameters after ? have the wrong syntax")
	}
	for name, all := range values {
		value := all[0]
		switch {
		case len(all) > 1:
			return t, fmt.Errorf("the parameter %s occurs more than once", name)
		case name == "tags" && value == "datadog":
			t.Tags = true
		case name == "tags":
			return t, fmt.Errorf("tags=%s: the only value is datadog", value)
		case name == "prefix" && validPrefix.MatchString(value):
			t.Prefix = value
		case name == "prefix":
			return t, fmt.Errorf("prefix=%s: a prefix consists of letters, digits, underscores and hyphens, and of dots between them", value)
		default:
			return t, fmt.Errorf("unknown parameter %q: the parameters are tags and prefix", name)
		}
	}
	return t, nil
}
