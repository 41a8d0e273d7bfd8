package testutil

import (
	"bytes"
	"strings"
	"sync"
	"testing"
)

// LogBuffer keeps what is written to it. The zero value is empty and ready to
// use; all methods may be called at the same time.
type LogBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write appends p. It never fails.
func (l *LogBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// String returns all that was written so far.
func (l *LogBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Await waits until text was written. After Patience it ends the test and prints
// the log.
func (l *LogBuffer) Await(tb testing.TB, text string) {
	tb.Helper()
	if !poll(Patience, func() bool { return strings.Contains(l.String(), text) }) {
		tb.Fatalf("timed out after %v: %q is not in the log:\n%s", Patience, text, l)
	}
}
