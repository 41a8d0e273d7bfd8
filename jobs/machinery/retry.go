package machinery

import (
	"errors"
	"math/rand/v2"
	"time"

	"github.com/galeserver/gale/jobs"
)

// retry reports whether a failed attempt is followed by another, and when.
func (r *run) retry(err error) (time.Duration, bool) {
	failures := len(r.lease.Task.Failures)
	if failures >= r.lease.Task.MaxRetries || errors.Is(err, jobs.ErrArgs) {
		return 0, false // what it cannot take now it cannot take later
	}
	asked, ok := errors.AsType[*jobs.RetryError](err)
	switch {
	case !ok || !asked.Never && asked.After == 0:
		return retryDelay(failures), true
	case asked.Never:
		return 0, false
	}
	return asked.After, true
}

// retryDelay is 1 s after the first failure and doubles to at most 10 min;
// of that a random half, so that tasks that failed together come back apart.
func retryDelay(failures int) time.Duration {
	delay := min(time.Second<<min(failures, 20), 10*time.Minute)
	return delay/2 + rand.N(delay/2)
}
