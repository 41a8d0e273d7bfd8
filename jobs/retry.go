package jobs

import (
	"time"
)

// RetryError is an error of a handler that overrides the backoff before the next
// attempt. Make it with RetryAfter or NoRetry.
type RetryError struct {
	// After is the delay before the next attempt; 0 means the usual backoff.
	After time.Duration
	// Never is true to end the task as failed, even if MaxRetries allows another attempt.
	Never bool
	Err   error
}

// RetryAfter returns an error with which a handler sets the delay before the next attempt
// to d; zero or less is no delay. There is no next attempt if MaxRetries does not allow
// one. The text is that of err.
func RetryAfter(d time.Duration, err error) error { return &RetryError{After: max(d, 1), Err: err} }

// NoRetry returns an error that ends the task as failed, because another attempt cannot
// succeed. Its text is that of err.
func NoRetry(err error) error { return &RetryError{Never: true, Err: err} }

func (e *RetryError) Error() string {
	if e.Err == nil {
		return "no reason given"
	}
	return e.Err.Error()
}

// Unwrap returns Err.
func (e *RetryError) Unwrap() error { return e.Err }
