package tasktrace

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"math"

	"go.opentelemetry.io/otel/trace"

	"github.com/galeserver/gale/internal/tracing"
	"github.com/galeserver/gale/jobs"
)

// Known is a context with the identity of the span of an attempt in another program. The
// server writes this span when the attempt has ended, perhaps in another process than the
// one that leased the task, so its id is computed from the id of the lease. For a task
// without a trace the context has no span.
func Known(ctx context.Context, t *jobs.Task, lease string) context.Context {
	enqueued := trace.SpanContextFromContext(tracing.ParentIn(t.Headers).Context(context.Background()))
	if !enqueued.IsValid() {
		return trace.ContextWithSpanContext(ctx, trace.SpanContext{})
	}
	return trace.ContextWithRemoteSpanContext(ctx, enqueued.WithSpanID(spanID(lease)))
}

// spanID returns the id of the span of a lease. The id of a lease has 130 random bits.
func spanID(lease string) (id trace.SpanID) {
	sum := sha256.Sum256([]byte(lease))
	copy(id[:], sum[:])
	id[0] |= 1 // an id of zeros is not valid
	return id
}

// Ended writes the span of an attempt in another program that has just ended, see Known. It
// began at t.Started. Without a trace in the headers of the task it is the root of one. end and
// reason are those of End.
func Ended(p trace.TracerProvider, t *jobs.Task, lease, end, reason string) {
	if p == nil {
		return
	}
	var options []trace.SpanStartOption
	if t.Started != nil {
		options = append(options, trace.WithTimestamp(*t.Started))
	}
	_, span := Start(tracing.WithSpanID(context.Background(), spanID(lease)), p, t, options...)
	End(span, end, reason)
}

// Headers returns the headers of a task with the span of ctx in place of the one that
// enqueued the task.
func Headers(ctx context.Context, headers json.RawMessage) json.RawMessage {
	parent := tracing.ParentOf(ctx)
	var all map[string]json.RawMessage
	if parent.Span == "" || json.Unmarshal(headers, &all) != nil {
		return headers
	}
	delete(all, tracing.Traceparent)
	others, err := json.Marshal(all)
	if err != nil {
		return headers
	}
	return parent.AddTo(others, math.MaxInt)
}
