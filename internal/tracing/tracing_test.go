package tracing_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/codes"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/galeserver/gale/internal/tracing"
)

const (
	traceID     = "4bf92f3577b34da6a3ce929d0e0e4736"
	traceparent = "00-" + traceID + "-00f067aa0ba902b7-01"
)

func TestSpans(t *testing.T) {
	spans := tracetest.NewSpanRecorder()
	provider := sdk.NewTracerProvider(sdk.WithSpanProcessor(spans))
	ctx := tracing.Parent{Span: traceparent, State: "a=b"}.Context(t.Context())
	ctx, root := tracing.Root(ctx, provider, "GET", "/tasks/{id}", trace.SpanKindServer)
	below, child := tracing.Start(ctx, "store file", "", trace.SpanKindInternal)
	tracing.End(child, errors.New("disk full"))
	tracing.End(root, nil)

	ended := spans.Ended()
	if len(ended) != 2 || ended[0].Name() != "store file" || ended[1].Name() != "GET /tasks/{id}" {
		t.Fatalf("spans: %v", ended)
	}
	if got := ended[0].Status(); got.Code != codes.Error || got.Description != "disk full" {
		t.Errorf("status of the failed span: %+v", got)
	}
	if ended[1].Status().Code != codes.Unset || ended[1].SpanKind() != trace.SpanKindServer {
		t.Errorf("root: %+v, kind %v", ended[1].Status(), ended[1].SpanKind())
	}
	if ended[0].Parent().SpanID() != ended[1].SpanContext().SpanID() || ended[1].Parent().TraceID().String() != traceID {
		t.Errorf("parents: %v, %v", ended[0].Parent(), ended[1].Parent())
	}
	p := tracing.ParentOf(below)
	if p.State != "a=b" || p.Span != "00-"+traceID+"-"+ended[0].SpanContext().SpanID().String()+"-01" {
		t.Errorf("parent of what follows: %+v", p)
	}
	if got := tracing.ID(below); got != traceID {
		t.Errorf("trace id %q", got)
	}
}

// TestOff checks that nothing is allocated without tracing.
func TestOff(t *testing.T) {
	ctx, headers := t.Context(), json.RawMessage(`{"a":1}`)
	name := strings.Repeat("x", 40) // a text that is not a constant
	n := testing.AllocsPerRun(100, func() {
		ctx, root := tracing.Root(ctx, nil, "GET", name, trace.SpanKindServer)
		ctx, span := tracing.Start(ctx, "enqueue", name, trace.SpanKindProducer)
		ctx = tracing.ParentIn(nil).Context(ctx)
		if got := tracing.ParentOf(ctx).AddTo(headers, 100); len(got) != len(headers) || tracing.ID(ctx) != "" || span.IsRecording() {
			t.Errorf("headers %s", got)
		}
		tracing.End(span, nil)
		tracing.End(root, nil)
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestHeaders(t *testing.T) {
	p := tracing.Parent{Span: traceparent, State: "a=b"}
	for _, row := range []struct {
		name, headers, want string
		limit               int
	}{
		{"none", "", `{"traceparent":"` + traceparent + `","tracestate":"a=b"}`, 1000},
		{"others are kept", `{"x":[1.0]}`, `{"traceparent":"` + traceparent + `","tracestate":"a=b","x":[1.0]}`, 1000},
		{"an own one is kept", `{"traceparent":"mine"}`, `{"traceparent":"mine"}`, 1000},
		{"a state without a span is replaced", `{"tracestate":"old"}`, `{"traceparent":"` + traceparent + `","tracestate":"a=b"}`, 1000},
		{"too long", `{"x":1}`, `{"x":1}`, 50},
		{"not an object", `null`, `null`, 1000},
		{"not JSON", `{`, `{`, 1000},
	} {
		if got := p.AddTo(json.RawMessage(row.headers), row.limit); string(got) != row.want {
			t.Errorf("%s: %s, want %s", row.name, got, row.want)
		}
	}
	if got := tracing.ParentIn(p.AddTo(nil, 1000)); got != p || got.TraceID() != traceID {
		t.Errorf("read %+v with trace %q, want %+v", got, got.TraceID(), p)
	}
	for _, bad := range []string{``, `{`, `null`, `[]`, `{"traceparent":1}`, `{"tracestate":"a=b"}`} {
		if got := tracing.ParentIn(json.RawMessage(bad)); got != (tracing.Parent{}) {
			t.Errorf("%s: %+v", bad, got)
		}
	}
	if got := tracing.ParentIn(json.RawMessage(`{"traceparent":"x","tracestate":1}`)); got != (tracing.Parent{Span: "x"}) {
		t.Errorf("a bad state: %+v", got)
	}
}

func TestInvalidParentIsIgnored(t *testing.T) {
	for _, bad := range []string{"", "x", "00-" + strings.Repeat("0", 32) + "-00f067aa0ba902b7-01", traceparent + "-more", strings.ToUpper(traceparent)} {
		ctx, p := t.Context(), tracing.Parent{Span: bad}
		if got := p.Context(ctx); got != ctx || p.TraceID() != "" {
			t.Errorf("%q leads to %v", bad, trace.SpanContextFromContext(got))
		}
	}
}

// values is a context whose values are in a map, like fasthttp.RequestCtx.
type values struct {
	context.Context
	all map[any]any
}

func (v values) Value(key any) any { return v.all[key] }

func TestContextKey(t *testing.T) {
	_, span := tracing.Root(t.Context(), sdk.NewTracerProvider(), "x", "", trace.SpanKindInternal)
	ctx := values{t.Context(), map[any]any{tracing.ContextKey(): span}}
	if got := trace.SpanFromContext(ctx); got != span {
		t.Errorf("the context leads to %v, not to %v", got, span)
	}
}

func TestLogHandler(t *testing.T) {
	var lines bytes.Buffer
	log := slog.New(tracing.LogHandler(slog.NewTextHandler(&lines, nil))).With("slot", "serve.0")
	log.InfoContext(tracing.Parent{Span: traceparent}.Context(t.Context()), "sampled")
	log.InfoContext(tracing.Parent{Span: strings.TrimSuffix(traceparent, "1") + "0"}.Context(t.Context()), "not sampled")
	log.Info("no context")
	got := strings.Split(strings.TrimSpace(lines.String()), "\n")
	if len(got) != 3 || !strings.HasSuffix(got[0], "msg=sampled slot=serve.0 trace="+traceID) ||
		strings.Contains(got[1], "trace=") || strings.Contains(got[2], "trace=") {
		t.Errorf("lines: %q", got)
	}
}
