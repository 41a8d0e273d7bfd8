package config

import (
	"strings"
	"testing"
)

func TestTrace(t *testing.T) {
	t.Chdir(t.TempDir())
	if c, err := Load(Serve, program, nil, nil); err != nil || c.Trace != "" || c.TraceSample != 1 {
		t.Errorf("defaults: %q, %v, %v", c.Trace, c.TraceSample, err)
	}
	c, err := Load(Serve, program, []string{"-trace", "otlp://collector:4318", "-trace-sample", "0.1"}, nil)
	if err != nil || c.Trace != "otlp://collector:4318" || c.TraceSample != 0.1 {
		t.Errorf("%q, %v, %v", c.Trace, c.TraceSample, err)
	}
	for args, want := range map[string]string{
		"-trace http://collector:4318":       `-trace: "http://collector:4318" begins neither with otlp:// nor with otlps://`,
		"-trace otlp://u:s3cret@a":           "-trace: must not contain a user",
		"-trace=":                            "-trace: is empty",
		"-trace otlp://a -trace-sample 2":    "-trace-sample: 2 is not between 0 and 1",
		"-trace otlp://a -trace-sample -0.1": "-trace-sample: -0.1 is not between 0 and 1",
		"-trace otlp://a -trace-sample NaN":  "-trace-sample: NaN is not between 0 and 1",
		"-trace otlp://a -trace-sample 10%":  "-trace-sample",
		"-trace-sample 0.5":                  "-trace-sample: needs -trace",

		"-trace-link=":                                "-trace-link: is empty",
		"-trace-link javascript:alert({id})":          "-trace-link: is not a URL that begins with http:// or https://",
		"-trace-link jaeger/trace/{id}":               "-trace-link: is not a URL that begins with http:// or https://",
		"-trace-link https:///trace/{id}":             "-trace-link: is not a URL that begins with http:// or https://",
		"-trace-link https://jaeger/%zz/{id}":         "-trace-link: is not a URL that begins with http:// or https://",
		"-trace-link https://u:s3cret@jaeger/{id}":    "-trace-link: must not contain a user or a password",
		"-trace-link https://u:s3cret@jae%zzger/{id}": "-trace-link: is not a URL that begins with http:// or https://",
		"-trace-link https://jaeger/trace":            `-trace-link: "https://jaeger/trace" does not contain {id} exactly once`,
		"-trace-link https://jaeger/{id}/{id}":        `-trace-link: "https://jaeger/{id}/{id}" does not contain {id} exactly once`,
	} {
		if _, err := Load(Serve, program, strings.Fields(args), nil); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v, want %q", args, err, want)
		}
	}
}

func TestTraceLink(t *testing.T) {
	t.Parallel()
	for _, link := range []string{"https://jaeger.example/trace/{id}", "http://10.0.0.7:3000/explore?trace={id}&org=1", "https://viewer.example/#/traces/{id}"} {
		if c, err := Load(Serve, program, []string{"-trace-link", link}, nil); err != nil || c.TraceLink != link {
			t.Errorf("%s: %q, %v", link, c.TraceLink, err)
		}
	}
}
