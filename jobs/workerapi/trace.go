package workerapi

import (
	"context"
	"encoding/json"

	"github.com/galeserver/gale/internal/tasktrace"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
)

// traced returns a context with the span of an attempt, of which only the identity is known
// until the attempt ends.
func (s *Service) traced(ctx context.Context, t *jobs.Task, l *driver.Lease) context.Context {
	if s.opt.TracerProvider == nil {
		return ctx
	}
	return tasktrace.Known(ctx, t, traceName(l))
}

// headers returns the headers for the worker. ctx is that of traced.
func (s *Service) headers(ctx context.Context, t *jobs.Task) json.RawMessage {
	if s.opt.TracerProvider == nil {
		return t.Headers
	}
	return tasktrace.Headers(ctx, t.Headers)
}

// span writes the span of an attempt that has ended. An empty reason is no error.
func (s *Service) span(t *jobs.Task, l *driver.Lease, outcome, reason string) {
	if s.opt.TracerProvider != nil {
		tasktrace.Ended(s.opt.TracerProvider, t, traceName(l), outcome, reason)
	}
}

// follow makes what follows an attempt belong to its span.
func (s *Service) follow(ctx context.Context, t *jobs.Task, l *driver.Lease, o *driver.Outcome) {
	if s.opt.TracerProvider != nil {
		tasktrace.Follow(s.traced(ctx, t, l), o)
	}
}

// traceName identifies an attempt in all processes.
func traceName(l *driver.Lease) string {
	return leaseID{session: l.Owner, attempt: l.Attempt, task: l.Task.ID}.String()
}
