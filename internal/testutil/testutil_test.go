package testutil

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// recorder is a test that records its failure.
type recorder struct {
	testing.TB
	failure string
}

func (*recorder) Helper() {}

func (r *recorder) Fatalf(format string, args ...any) { r.failure = fmt.Sprintf(format, args...) }

func TestEventually(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start, r := time.Now(), &recorder{TB: t}
		Eventually(r, "a minute passes", func() bool { return time.Since(start) >= time.Minute })
		if waited := time.Since(start); r.failure != "" || waited < time.Minute || waited > time.Minute+pause {
			t.Errorf("after %v: %q", waited, r.failure)
		}
		Eventually(r, "never true", func() bool { return false })
		if !strings.Contains(r.failure, "never true") || time.Since(start) < time.Minute+Patience {
			t.Errorf("after %v: %q", time.Since(start), r.failure)
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
