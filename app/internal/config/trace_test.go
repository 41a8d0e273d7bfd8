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
	} {
		if _, err := Load(Serve, program, strings.Fields(args), nil); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v, want %q", args, err, want)
		}
	}
}
