package driver

import (
	"math/rand/v2"
	"time"
)

// RetryDelay returns the backoff before the next attempt after a number of earlier failures:
// 1 s after the first failure, doubled with each further failure, at most 10 min. Half of it
// is random, so that tasks that failed at the same time are not retried at the same time.
func RetryDelay(failures int) time.Duration {
	delay := min(time.Second<<min(failures, 20), 10*time.Minute)
	return delay/2 + rand.N(delay/2)
}
