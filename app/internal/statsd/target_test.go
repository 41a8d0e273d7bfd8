package statsd

import (
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]Target{
		"127.0.0.1:8125":                    {"127.0.0.1:8125", "gale", false},
		"stats.example:8125?tags=datadog":   {"stats.example:8125", "gale", true},
		"[::1]:1?prefix=web-1.shop":         {"[::1]:1", "web-1.shop", false},
		"h:65535?tags=datadog&prefix=web_1": {"h:65535", "web_1", true},
		"[fe80::1%25eth0]:8125?":            {"[fe80::1%25eth0]:8125", "gale", false},
	} {
		if got, err := Parse(text); err != nil || got != want {
			t.Errorf("%s: %+v, %v; want %+v", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"":                            "not host:port",
		"8125":                        "not host:port",
		"host":                        "not host:port",
		":8125":                       "not host:port",
		"host:0":                      "not host:port",
		"host:65536":                  "not host:port",
		"host:http":                   "not host:port",
		"udp://host:8125":             "not host:port",
		"ho st:8125":                  "not host:port",
		"a/b:8125":                    "not host:port",
		"host:8125?tags=influx":       "the only value is datadog",
		"host:8125?tags":              "the only value is datadog",
		"host:8125?prefix=":           "a prefix consists of",
		"host:8125?prefix=a..b":       "a prefix consists of",
		"host:8125?prefix=a:b":        "a prefix consists of",
		"host:8125?interval=1":        `unknown parameter "interval"`,
		"host:8125?prefix=a&prefix=b": "more than once",
		"host:8125?%zz":               "wrong syntax",
	} {
		if _, err := Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("127.0.0.1:8125?tags=datadog&prefix=a.b")
	f.Add("[::1]:1?")
	f.Fuzz(func(t *testing.T, text string) {
		target, err := Parse(text)
		if err == nil && (target.Prefix == "" || strings.ContainsAny(target.Prefix+target.Address, ":|@#\n ") && strings.ContainsAny(target.Prefix, ":|@#\n ")) {
			t.Errorf("%q: %+v", text, target)
		}
	})
}
