// Package testutil has helpers for tests: Eventually polls a condition, and LogBuffer
// collects log lines.
package testutil

import (
	"testing"
	"time"
)

// Patience is the time that tests wait for a condition: two minutes. It is long, so that
// tests pass on a machine that is busy with other work.
const Patience = 2 * time.Minute

// pause is the time between two checks of a condition.
const pause = 10 * time.Millisecond

// Eventually polls cond until it returns true. After Patience it fails the test. what
// describes the condition in the failure, such as "the child has exited".
func Eventually(tb testing.TB, what string, cond func() bool) {
	tb.Helper()
	if !poll(Patience, cond) {
		tb.Fatalf("timed out after %v: %s", Patience, what)
	}
}

// poll reports whether cond became true within limit.
func poll(limit time.Duration, cond func() bool) bool {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for end := time.Now().Add(limit); !cond(); <-tick.C {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}
