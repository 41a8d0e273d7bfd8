package tracing

import (
	"context"
	"crypto/rand"

	"go.opentelemetry.io/otel/trace"
)

type spanIDKey struct{}

// WithSpanID returns a copy of ctx with which a provider that uses IDs starts a span with
// this id. It is for a span whose id must be known before the span is started. Use the copy
// for one span only.
func WithSpanID(ctx context.Context, id trace.SpanID) context.Context {
	return context.WithValue(ctx, spanIDKey{}, id)
}

// IDs makes random ids of traces and spans, except where WithSpanID gives one. It is an
// IDGenerator of the package go.opentelemetry.io/otel/sdk/trace.
type IDs struct{}

// NewIDs returns the ids of a root.
func (i IDs) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	var id trace.TraceID
	for !id.IsValid() {
		_, _ = rand.Read(id[:]) // it never returns an error
	}
	return id, i.NewSpanID(ctx, id)
}

// NewSpanID returns the id of a span.
func (IDs) NewSpanID(ctx context.Context, _ trace.TraceID) (id trace.SpanID) {
	if given, ok := ctx.Value(spanIDKey{}).(trace.SpanID); ok {
		return given
	}
	for !id.IsValid() {
		_, _ = rand.Read(id[:])
	}
	return id
}
