package testutil

import (
	"bytes"
	"strings"
	"sync"
	"testing"
)

// LogBuffer collects everything that is written to it. The zero value is empty and ready
// to use. Its methods may be called by several goroutines at the same time.
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

// String returns everything that was written so far.
func (l *LogBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Await waits until text has been written. After Patience it fails the test with the
// content of the buffer.
func (l *LogBuffer) Await(tb testing.TB, text string) {
	tb.Helper()
	if !poll(Patience, func() bool { return strings.Contains(l.String(), text) }) {
		tb.Fatalf("timed out after %v: %q is not in the log:\n%s", Patience, text, l)
	}
}
