package machinery

import (
	"errors"
	"math/rand/v2"
	"time"

	"github.com/galeserver/gale/jobs"
)

// retry returns the delay before the next attempt, and false if there is none.
func (r *run) retry(err error) (time.Duration, bool) {
	failures := len(r.lease.Task.Failures)
	if failures >= r.lease.Task.MaxRetries || errors.Is(err, jobs.ErrArgs) {
		return 0, false // another attempt would get the same wrong arguments
	}
	custom, ok := errors.AsType[*jobs.RetryError](err)
	switch {
	case !ok || !custom.Never && custom.After == 0:
		return retryDelay(failures), true
	case custom.Never:
		return 0, false
	}
	return custom.After, true
}

// retryDelay returns the backoff: 1 s after the first failure, doubled with each further
// failure, at most 10 min. Half of it is random, so that tasks that failed at the same time
// are not retried at the same time.
func retryDelay(failures int) time.Duration {
	delay := min(time.Second<<min(failures, 20), 10*time.Minute)
	return delay/2 + rand.N(delay/2)
}
