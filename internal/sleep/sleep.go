// Package sleep waits for a time that a context can cut short.
package sleep

import (
	"context"
	"time"
)

// For waits for d. It returns false if ctx ends first, or has ended before.
func For(ctx context.Context, d time.Duration) bool {
	if ctx.Err() != nil {
		return false
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Aligned waits until the clock shows a multiple of d, at least half of d. It returns false if
// ctx ends first, or has ended before. Goroutines that wait for the same d, or for multiples
// of it, wake at the same time. So a process without work wakes less often; each time costs
// several switches of threads in the Go runtime.
func Aligned(ctx context.Context, d time.Duration) bool { return For(ctx, Align(d)) }

// Align returns the duration of such a wait that begins now.
func Align(d time.Duration) time.Duration {
	rest := d - time.Duration(time.Now().UnixNano())%d
	if rest < d/2 {
		return rest + d
	}
	return rest
}
