package jobs_test

import (
	"errors"
	"testing"
	"time"

	"github.com/galeserver/gale/jobs"
)

func TestParseRate(t *testing.T) {
	for text, want := range map[string]time.Duration{"1/s": time.Second, "10/s": 100 * time.Millisecond, "7/m": 8571428 * time.Microsecond, "1/h": time.Hour, "1000000/s": time.Microsecond} {
		if r, err := jobs.ParseRate(text); err != nil || r.Every() != want {
			t.Errorf("%s: %v, %v; want one each %v", text, r.Every(), err, want)
		}
	}
	for _, text := range []string{"", "/", "10", "0/s", "-1/s", "1.5/s", "1/d", "1/s/s", "1 / s", "1000001/s"} {
		if r, err := jobs.ParseRate(text); !errors.Is(err, jobs.ErrRate) {
			t.Errorf("%q: %v, %v", text, r, err)
		}
	}
	if (jobs.Rate{}).Every() != 0 {
		t.Error("no rate is a limit")
	}
}

func FuzzParseRate(f *testing.F) {
	for _, seed := range []string{"10/s", "1/h", "/", "-1/m", "1e3/s"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := jobs.ParseRate(text)
		if err == nil && (r.Every() < time.Microsecond || r.Every() > time.Hour) || err != nil && !errors.Is(err, jobs.ErrRate) {
			t.Errorf("%q: %v, %v", text, r.Every(), err)
		}
	})
}
