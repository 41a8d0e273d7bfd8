// Package testutil holds what tests of every package wait and log with.
package testutil

import (
	"testing"
	"time"
)

// Patience is how long tests wait for what must happen: two minutes. It is long,
// so that they pass on a machine that is busy with other work.
const Patience = 2 * time.Minute

// pause is the time between two looks at a condition.
const pause = 10 * time.Millisecond

// Eventually polls until cond returns true. After Patience it ends the test with
// what did not happen, on the caller's line.
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
