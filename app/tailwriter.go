package app

import (
	"io"
	"sync/atomic"

	"github.com/galeserver/gale/app/internal/logtail"
)

// tailWriter writes the log, and keeps its last lines for a debug bundle.
type tailWriter struct {
	out  io.Writer
	tail atomic.Pointer[logtail.Tail]
}

// keep sets where lines are kept from now on.
func (w *tailWriter) keep(tail *logtail.Tail) { w.tail.Store(tail) }

// Write implements io.Writer.
func (w *tailWriter) Write(text []byte) (int, error) {
	_, _ = w.tail.Load().Write(text) // never fails
	return w.out.Write(text)
}
