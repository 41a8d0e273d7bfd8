// Package tasktrace makes the spans of attempts at tasks.
//
// The headers of a task hold the identity of the span that enqueued it. Each attempt has a
// span below that one, so the attempts at a task are siblings. What an attempt enqueues
// belongs to the span of the attempt. What a task store enqueues without an attempt (the
// callback of a group, and the tasks that follow a dead letter) belongs to the span that
// enqueued the workflow. Headers that name another span are kept.
package tasktrace

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/galeserver/gale/internal/tracing"
	"github.com/galeserver/gale/internal/utf8text"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
)

// Outcomes of attempts that are not states of a task.
const (
	OutcomeLost     = "lost"     // the lease was lost: another worker runs the task
	OutcomeReleased = "released" // the worker stopped before the attempt had finished
)

// Outcome is the attribute with the outcome of an attempt.
const Outcome = attribute.Key("gale.task.outcome")

// Further attributes of the span of an attempt, besides those of package tracing.
const (
	attempt = attribute.Key("gale.task.attempt") // 1 for the first
	lost    = attribute.Key("gale.task.lost")    // earlier attempts whose leases were lost
	worker  = attribute.Key("gale.worker")
)

// maxError is the largest size of the error text of a span, in bytes.
const maxError = 1000

var off = trace.SpanFromContext(context.Background())

// Start starts the span "run NAME" of the running attempt at a task. Its parent is in the
// headers of the task; without one it is the root of a trace. The span of an attempt that died
// with its worker does not exist, so the event "attempt lost" tells the number of those.
// Without a provider Start returns ctx and a span that does nothing.
func Start(ctx context.Context, p trace.TracerProvider, t *jobs.Task, options ...trace.SpanStartOption) (context.Context, trace.Span) {
	if p == nil {
		return ctx, off
	}
	options = append(options, trace.WithSpanKind(trace.SpanKindConsumer))
	ctx, span := p.Tracer(tracing.Scope).Start(tracing.ParentIn(t.Headers).Context(ctx), "run "+t.Name, options...)
	if span.IsRecording() {
		span.SetAttributes(tracing.TaskID.String(t.ID), tracing.TaskName.String(t.Name), tracing.TaskQueue.String(t.Queue),
			attempt.Int(t.Attempts), worker.String(t.Worker))
		if t.Lost > 0 {
			span.AddEvent("attempt lost", trace.WithAttributes(lost.Int(t.Lost)))
		}
	}
	return ctx, span
}

// End ends the span of an attempt. end is the state that the task got, or one of the
// outcomes above. A reason that is not empty is the error of the attempt.
func End(span trace.Span, end, reason string) {
	span.SetAttributes(Outcome.String(end))
	if reason != "" {
		span.SetStatus(codes.Error, utf8text.Cut(reason, maxError))
	}
	span.End()
}

// Follow adds the identity of the span of ctx to the headers of the tasks that follow an
// attempt.
func Follow(ctx context.Context, o *driver.Outcome) {
	parent := tracing.ParentOf(ctx)
	if parent.Span == "" {
		return
	}
	add := func(n *jobs.NewTask) { n.Headers = parent.AddTo(n.Headers, jobs.MaxHeaders) }
	for i := range o.Next {
		add(&o.Next[i])
	}
	for _, g := range o.NextGroups {
		for i := range g.Members {
			add(&g.Members[i])
		}
		if g.Callback != nil {
			add(g.Callback)
		}
	}
}
