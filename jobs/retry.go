package jobs

import (
	"errors"
	"math/rand/v2"
	"time"
)

// RetryError is a failure that says when the next attempt shall be: what a
// handler returns that knows better than the backoff.
type RetryError struct {
	// After is the time until the next attempt; 0 is the backoff.
	After time.Duration
	// Never ends the task as failed, whatever MaxRetries allows.
	Never bool
	Err   error
}

// RetryAfter asks for the next attempt in d, if MaxRetries allows one. The
// error reads as err, and errors.AsType finds the *RetryError.
func RetryAfter(d time.Duration, err error) error { return &RetryError{After: max(d, 1), Err: err} }

// NoRetry ends the task: no attempt could do better.
func NoRetry(err error) error { return &RetryError{Never: true, Err: err} }

func (e *RetryError) Error() string {
	if e.Err == nil {
		return "no reason given"
	}
	return e.Err.Error()
}

// Unwrap returns Err.
func (e *RetryError) Unwrap() error { return e.Err }

// retry reports whether a failed attempt is followed by another, and when.
func (r *run) retry(err error) (time.Duration, bool) {
	failures := len(r.lease.Task.Failures)
	if failures >= r.lease.Task.MaxRetries || errors.Is(err, ErrArgs) {
		return 0, false // what it cannot take now it cannot take later
	}
	asked, ok := errors.AsType[*RetryError](err)
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
