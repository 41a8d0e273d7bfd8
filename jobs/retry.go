package jobs

import (
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
