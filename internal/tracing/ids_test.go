package tracing_test

import (
	"testing"

	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/galeserver/gale/internal/tracing"
)

func TestIDs(t *testing.T) {
	provider := sdk.NewTracerProvider(sdk.WithIDGenerator(tracing.IDs{}))
	seen := map[string]bool{}
	for range 100 {
		ctx, root := tracing.Root(t.Context(), provider, "x", "", trace.SpanKindInternal)
		_, child := tracing.Start(ctx, "y", "", trace.SpanKindInternal)
		a, b := root.SpanContext(), child.SpanContext()
		if !a.IsValid() || !b.IsValid() || a.TraceID() != b.TraceID() {
			t.Fatalf("%v, %v", a, b)
		}
		seen[a.TraceID().String()], seen[a.SpanID().String()], seen[b.SpanID().String()] = true, true, true
	}
	if len(seen) != 300 {
		t.Errorf("%d different ids, want 300", len(seen))
	}
	want := trace.SpanID{1, 2, 3}
	start := func(p tracing.Parent) trace.SpanContext {
		_, span := tracing.Root(p.Context(tracing.WithSpanID(t.Context(), want)), provider, "x", "", trace.SpanKindInternal)
		return span.SpanContext()
	}
	if got := start(tracing.Parent{}); got.SpanID() != want || !got.TraceID().IsValid() {
		t.Errorf("root: %v", got)
	}
	if got := start(tracing.Parent{Span: traceparent}); got.SpanID() != want || got.TraceID().String() != traceID {
		t.Errorf("child: %v", got)
	}
}
