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
		return 0, false // wrong arguments stay wrong
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

// retryDelay is the backoff: 1 s after the first failure, doubled with each further one,
// at most 10 min. Half of it is random, so that tasks which failed together are spread.
func retryDelay(failures int) time.Duration {
	delay := min(time.Second<<min(failures, 20), 10*time.Minute)
	return delay/2 + rand.N(delay/2)
}
