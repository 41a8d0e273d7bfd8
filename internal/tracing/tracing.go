// Package tracing starts spans of OpenTelemetry, and passes their identity on as text in
// the format of W3C Trace Context (https://www.w3.org/TR/trace-context/). It uses only the
// API of OpenTelemetry: the program that is built with it chooses the exporter.
//
// A root is started with the TracerProvider of the process, which is nil if tracing is
// off. Every other span is started below the span of a context, so that a package between
// the two needs no option for it:
//
//	request ─► Root(ctx, provider, …) ─► Start(ctx, "store file", …) ─► Start(ctx, "enqueue", …)
//	                                                                          │ ParentOf(ctx).AddTo(headers)
//	attempt ─► ParentIn(headers).Context(ctx) ─► Root(ctx, provider, …) ◄─────┘
//
// Without tracing, no function of this package allocates memory.
package tracing

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// Scope is the name of the instrumentation scope of all spans of this module.
const Scope = "github.com/galeserver/gale"

// Attributes of spans about tasks and files, for which OpenTelemetry has no conventions.
const (
	TaskID    = attribute.Key("gale.task.id")
	TaskName  = attribute.Key("gale.task.name")
	TaskQueue = attribute.Key("gale.task.queue")
	GroupID   = attribute.Key("gale.group.id")
	GroupSize = attribute.Key("gale.group.size") // number of members

	// Of several files that are stored together, the name and size are those of the first.
	FileCount     = attribute.Key("gale.file.count")
	FileDirectory = attribute.Key("gale.file.directory")
	FileName      = attribute.Key("gale.file.name")
	FileSize      = attribute.Key("gale.file.size") // bytes
)

// off is the span that does nothing.
var off = trace.SpanFromContext(context.Background())

// Root starts a span in a provider, below the span of ctx if there is one, such as that of
// Parent.Context. The name of the span is verb, a space and object, or one of them if the
// other one is empty. Without a provider Root returns ctx and a span that does nothing.
func Root(ctx context.Context, p trace.TracerProvider, verb, object string, kind trace.SpanKind) (context.Context, trace.Span) {
	if p == nil {
		return ctx, off
	}
	return p.Tracer(Scope).Start(ctx, join(verb, object), trace.WithSpanKind(kind))
}

// Start is Root with the provider of the span of ctx. Without such a span it returns ctx
// and a span that does nothing. Set attributes only if the span is recording: otherwise
// making them costs memory without tracing.
func Start(ctx context.Context, verb, object string, kind trace.SpanKind) (context.Context, trace.Span) {
	parent := trace.SpanFromContext(ctx)
	if !parent.SpanContext().IsValid() {
		return ctx, off
	}
	return Root(ctx, parent.TracerProvider(), verb, object, kind)
}

func join(verb, object string) string {
	if verb == "" || object == "" {
		return verb + object
	}
	return verb + " " + object
}

// End sets the status of a span to error if err is not nil, and ends the span. The error's
// text becomes part of the trace.
func End(span trace.Span, err error) {
	if err != nil {
		span.SetStatus(codes.Error, err.Error())
	}
	span.End()
}

// ID returns the trace id of the span of ctx, in hexadecimal digits, if the span is
// sampled. Otherwise it returns an empty string.
func ID(ctx context.Context) string { return IDOf(trace.SpanContextFromContext(ctx)) }

// IDOf is ID for the context of a span.
func IDOf(c trace.SpanContext) string {
	if !c.IsSampled() {
		return ""
	}
	return c.TraceID().String()
}

// ContextKey returns the key under which package trace keeps the span in a context. A
// store of values that implements context.Context itself, such as fasthttp.RequestCtx, then
// leads to the span that was stored under this key.
func ContextKey() any {
	p := &probe{Context: context.Background()}
	trace.SpanFromContext(p)
	return p.key
}

// probe is a context that records the key of the last value that it was asked for.
type probe struct {
	context.Context //nolint:containedctx // it is a context
	key             any
}

// Value implements context.Context.
func (p *probe) Value(key any) any {
	p.key = key
	return nil
}
