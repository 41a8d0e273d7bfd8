package jobs_test

import (
	"errors"
	"testing"
	"time"

	"github.com/galeserver/gale/jobs"
)

func TestRateText(t *testing.T) {
	for text, want := range map[string]time.Duration{"1/s": time.Second, "10/s": 100 * time.Millisecond, "7/m": 8571428 * time.Microsecond, "1/h": time.Hour, "1000000/s": time.Microsecond} {
		var r jobs.Rate
		if err := r.UnmarshalText([]byte(text)); err != nil || r.Interval() != want {
			t.Errorf("%s: interval %v, error %v; want %v", text, r.Interval(), err, want)
		}
	}
	for _, text := range []string{"", "/", "10", "0/s", "-1/s", "1.5/s", "1/d", "1/s/s", "1 / s", "1000001/s"} {
		var r jobs.Rate
		if err := r.UnmarshalText([]byte(text)); !errors.Is(err, jobs.ErrOption) || r != (jobs.Rate{}) {
			t.Errorf("%q: %v, error %v; want ErrOption", text, r, err)
		}
	}
	if (jobs.Rate{}).Interval() != 0 {
		t.Error("the zero rate is a limit")
	}
}

func FuzzRateText(f *testing.F) {
	for _, seed := range []string{"10/s", "1/h", "/", "-1/m", "1e3/s"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var r jobs.Rate
		err := r.UnmarshalText([]byte(text))
		if err == nil && (r.Interval() < time.Microsecond || r.Interval() > time.Hour) || err != nil && !errors.Is(err, jobs.ErrOption) {
			t.Errorf("%q: interval %v, error %v", text, r.Interval(), err)
		}
	})
}
