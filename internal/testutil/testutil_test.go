package testutil

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// recorder is a test that may fail.
type recorder struct {
	testing.TB
	failure string
}

func (*recorder) Helper() {}

func (r *recorder) Fatalf(format string, args ...any) { r.failure = fmt.Sprintf(format, args...) }

func TestEventually(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began, r := time.Now(), &recorder{TB: t}
		Eventually(r, "a minute passes", func() bool { return time.Since(began) >= time.Minute })
		if waited := time.Since(began); r.failure != "" || waited < time.Minute || waited > time.Minute+pause {
			t.Errorf("after %v: %q", waited, r.failure)
		}
		Eventually(r, "the moon falls", func() bool { return false })
		if !strings.Contains(r.failure, "the moon falls") || time.Since(began) < time.Minute+Patience {
			t.Errorf("after %v: %q", time.Since(began), r.failure)
		}
	})
}

func TestLogBufferAwait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log LogBuffer
		go func() {
			time.Sleep(time.Second)
			fmt.Fprintln(&log, "msg=ready")
		}()
		r := &recorder{TB: t}
		log.Await(r, "ready")
		if r.failure != "" {
			t.Error(r.failure)
		}
		log.Await(r, "stopped")
		if !strings.Contains(r.failure, `"stopped"`) || !strings.Contains(r.failure, "msg=ready") {
			t.Errorf("%q", r.failure)
		}
	})
}
