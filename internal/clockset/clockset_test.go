package clockset

import (
	"testing"
	"testing/synctest"
	"time"
)

// Nothing is deleted in the hour after a large step forward, unless the clock is set back.
func TestPaused(t *testing.T) {
	for _, c := range []struct {
		name  string
		steps []time.Duration // of the clock, one a minute
		want  bool
	}{
		{"no step", []time.Duration{0, 0}, false},
		{"slewed", []time.Duration{time.Second, time.Minute}, false},
		{"forward by eight days", []time.Duration{8 * 24 * time.Hour}, true},
		{"and a minute later", []time.Duration{8 * 24 * time.Hour, 0}, true},
		{"and corrected", []time.Duration{8 * 24 * time.Hour, -8 * 24 * time.Hour}, false},
		{"back", []time.Duration{-time.Hour}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var g Guard
				paused := false
				for i, step := range c.steps {
					var set bool
					paused, set = g.paused(time.Now(), step)
					if want := i == 0 && step > Pause; set != want {
						t.Errorf("step %d: set %v, want %v", i, set, want)
					}
					time.Sleep(time.Minute)
				}
				if paused != c.want {
					t.Errorf("paused: %v, want %v", paused, c.want)
				}
				time.Sleep(Pause)
				if paused, _ := g.paused(time.Now(), 0); paused {
					t.Error("paused after an hour")
				}
			})
		})
	}
}

// Without a step, Paused is false from the first call on.
func TestRunningClock(t *testing.T) {
	var g Guard
	for range 2 {
		if paused, set := g.Paused(time.Now()); paused || set {
			t.Errorf("paused %v, set %v", paused, set)
		}
	}
}
