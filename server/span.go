package server

import (
	"context"
	"net/http"
	"strconv"

	"github.com/valyala/fasthttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/galeserver/gale/internal/tracing"
)

// spanKey is the key under which ctx holds the span of its request, so that
// trace.SpanFromContext finds it in ctx and in each context with the user values of ctx.
var spanKey = tracing.ContextKey()

// requestIDKey is the attribute with the id of a request.
const requestIDKey = attribute.Key("gale.request.id")

// startSpan starts the span of a request, below the span of the client if the request has
// a valid traceparent. r is nil if the path has no route. The span is nil without
// Options.TracerProvider, and for an untraced route if the client has no span.
func (s *Server) startSpan(ctx *fasthttp.RequestCtx, c *conn, r *Route) trace.Span {
	if s.opts.TracerProvider == nil {
		return nil
	}
	h, pattern := &ctx.Request.Header, ""
	parent := clientSpan(h)
	if r != nil {
		pattern = r.Path
		if r.Untraced && !trace.SpanContextFromContext(parent).IsValid() {
			return nil
		}
	}
	method := meterName(h.Method())
	verb := method
	if method == otherMethod {
		method, verb = "_OTHER", "HTTP"
	}
	_, span := tracing.Root(parent, s.opts.TracerProvider, verb, pattern, trace.SpanKindServer)
	ctx.SetUserValue(spanKey, span)
	if !span.IsRecording() {
		return span
	}
	span.SetAttributes(
		semconv.HTTPRequestMethodKey.String(method), semconv.URLPath(string(targetPath(h.RequestURI()))), semconv.URLScheme(Scheme(ctx)),
		semconv.ClientAddress(Client(ctx).String()), semconv.NetworkProtocolVersion(protocolVersion(h)), requestIDKey.String(string(c.id)),
	)
	if pattern != "" {
		span.SetAttributes(semconv.HTTPRoute(pattern))
	}
	if agent := h.UserAgent(); len(agent) > 0 {
		span.SetAttributes(semconv.UserAgentOriginal(string(agent)))
	}
	return span
}

// clientSpan returns a context with the span that the client names in traceparent and
// tracestate (W3C Trace Context §3). A repeated traceparent is not valid.
func clientSpan(h *fasthttp.RequestHeader) context.Context {
	parent, single := Single(h, tracing.Traceparent)
	if !single || parent == "" {
		return context.Background()
	}
	return tracing.Parent{Span: parent, State: List(h, tracing.Tracestate)}.Context(context.Background())
}

func protocolVersion(h *fasthttp.RequestHeader) string {
	if h.IsHTTP11() {
		return "1.1"
	}
	return "1.0"
}

// endSpan ends the span of a request. err is the error of the handler or of the admission.
// As the conventions of OpenTelemetry say, only a 5xx status is an error of the server.
func endSpan(ctx *fasthttp.RequestCtx, span trace.Span, f frame, err error) {
	if span == nil {
		return
	}
	defer span.End()
	if !span.IsRecording() {
		return
	}
	status := ctx.Response.StatusCode()
	span.SetAttributes(semconv.HTTPResponseStatusCode(status))
	if f.length > 0 {
		span.SetAttributes(semconv.HTTPRequestBodySize(int(f.length)))
	}
	if size := responseSize(ctx); size >= 0 && !ctx.Hijacked() {
		span.SetAttributes(semconv.HTTPResponseBodySize(size))
	}
	if status < http.StatusInternalServerError {
		return
	}
	span.SetAttributes(semconv.ErrorTypeKey.String(strconv.Itoa(status)))
	reason := ""
	if err != nil {
		reason = err.Error()
	}
	span.SetStatus(codes.Error, reason)
}

// withSpan returns a context without values other than the span of ctx.
func withSpan(ctx context.Context) context.Context {
	span := trace.SpanFromContext(ctx)
	if !span.SpanContext().IsValid() {
		return context.Background()
	}
	return trace.ContextWithSpan(context.Background(), span)
}

// responseSize returns the size of the response's body in bytes, and a negative value for a
// stream of unknown length.
func responseSize(ctx *fasthttp.RequestCtx) int {
	size := ctx.Response.Header.ContentLength()
	if !ctx.Response.IsBodyStream() {
		size = len(ctx.Response.Body())
	}
	if ctx.IsHead() || ctx.Response.StatusCode() == http.StatusNoContent {
		size = 0
	}
	return size
}

// traceID returns the id of the trace of ctx for the log. It is empty if its span is not
// sent: if it is not sampled and the request has not failed.
func traceID(ctx context.Context, failed bool) string {
	c := trace.SpanContextFromContext(ctx)
	if !failed || !c.HasTraceID() {
		return tracing.IDOf(c)
	}
	return c.TraceID().String()
}

// withTrace returns the attributes of a log line with the id of a trace, unless it is
// empty.
func withTrace(attrs []any, id string) []any {
	if id == "" {
		return attrs
	}
	return append(attrs, tracing.LogKey, id)
}
