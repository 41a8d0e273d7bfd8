package server_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
	"go.opentelemetry.io/otel/codes"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/server"
)

const (
	clientTrace = "4bf92f3577b34da6a3ce929d0e0e4736"
	clientSpan  = "00f067aa0ba902b7"
	traceparent = "Traceparent: 00-" + clientTrace + "-" + clientSpan + "-01\r\n"
)

// spanRoutes are routes whose handlers start spans below that of the request, with each of
// the contexts that a handler can have.
func spanRoutes() []server.Route {
	child := func(ctx context.Context, name string) {
		_, span := trace.SpanFromContext(ctx).TracerProvider().Tracer("test").Start(ctx, name)
		span.End()
	}
	return []server.Route{
		{Method: "POST", Path: "/things/{id}", Handler: func(ctx *fasthttp.RequestCtx) error {
			child(ctx, "own")
			child(server.Context(ctx), "of Context")
			gone, stop := server.Gone(ctx)
			defer stop()
			child(gone, "of Gone")
			server.WriteText(ctx, 201, "hello")
			return nil
		}},
		{Method: "GET", Path: "/http", Handler: server.HTTP(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { child(r.Context(), "of HTTP") }))},
		{Method: "GET", Path: "/broken", Handler: func(*fasthttp.RequestCtx) error { return errors.New("disk full") }},
		{Method: "GET", Path: "/panics", Handler: func(*fasthttp.RequestCtx) error { panic("disk full") }},
		{Method: "GET", Path: "/refused", Admit: func(*fasthttp.RequestHeader) (any, error) { return nil, server.Fail(403, "no") }, Handler: textHandler("x")},
		{Method: "GET", Path: "/probe", Handler: textHandler("x"), Untraced: true},
		{Method: "GET", Path: "/taken", Handler: func(ctx *fasthttp.RequestCtx) error {
			ctx.SetStatusCode(101)
			return server.Take(ctx, func(t *server.Taken) {
				_, _ = io.WriteString(t, "HTTP/1.1 101 Switching Protocols\r\n\r\n")
				_ = t.Close()
			})
		}},
	}
}

// text returns a span in one line.
func text(s sdk.ReadOnlySpan) string {
	var attrs []string
	for _, a := range s.Attributes() {
		switch a.Key {
		case "gale.request.id", "client.address": // differ
		default:
			attrs = append(attrs, fmt.Sprintf("%s=%v", a.Key, a.Value.AsInterface()))
		}
	}
	status := ""
	if s.Status().Code == codes.Error {
		status = " error " + s.Status().Description
	}
	return s.Name() + " [" + strings.Join(attrs, " ") + "]" + status
}

func TestRequestSpans(t *testing.T) {
	t.Parallel()
	spans := tracetest.NewSpanRecorder()
	s := open(t, server.Options{TracerProvider: sdk.NewTracerProvider(sdk.WithSpanProcessor(spans))}, spanRoutes()...)
	for _, row := range []struct{ raw, want string }{
		{"POST /things/7?token=secret HTTP/1.1\r\nHost: test\r\nUser-Agent: curl\r\nContent-Length: 2\r\n\r\nab", "POST /things/{id} [http.request.method=POST url.path=/things/7 url.scheme=http network.protocol.version=1.1 http.route=/things/{id} user_agent.original=curl http.response.status_code=201 http.request.body.size=2 http.response.body.size=5]"},
		{get("/http"), "GET /http [http.request.method=GET url.path=/http url.scheme=http network.protocol.version=1.1 http.route=/http http.response.status_code=200 http.response.body.size=0]"},
		{get("/broken"), "GET /broken [http.request.method=GET url.path=/broken url.scheme=http network.protocol.version=1.1 http.route=/broken http.response.status_code=500 http.response.body.size=38 error.type=500] error disk full"},
		{get("/panics"), "GET /panics [http.request.method=GET url.path=/panics url.scheme=http network.protocol.version=1.1 http.route=/panics http.response.status_code=500 http.response.body.size=38 error.type=500] error panic: disk full"},
		{get("/refused"), "GET /refused [http.request.method=GET url.path=/refused url.scheme=http network.protocol.version=1.1 http.route=/refused http.response.status_code=403 http.response.body.size=26]"},
		{get("/taken"), "GET /taken [http.request.method=GET url.path=/taken url.scheme=http network.protocol.version=1.1 http.route=/taken http.response.status_code=101]"},
		{get("/nowhere"), "GET [http.request.method=GET url.path=/nowhere url.scheme=http network.protocol.version=1.1 http.response.status_code=404 http.response.body.size=33]"},
		{"BREW /nowhere HTTP/1.0\r\n\r\n", "HTTP [http.request.method=_OTHER url.path=/nowhere url.scheme=http network.protocol.version=1.0 http.response.status_code=404 http.response.body.size=33]"},
	} {
		before := len(spans.Ended())
		talk(t, s, row.raw)
		var root sdk.ReadOnlySpan
		testutil.Eventually(t, "the request has a span", func() bool {
			for _, s := range spans.Ended()[before:] {
				if s.SpanKind() == trace.SpanKindServer {
					root = s
				}
			}
			return root != nil
		})
		if got := text(root); got != row.want {
			t.Errorf("got  %s\nwant %s", got, row.want)
		}
		for _, child := range spans.Ended()[before:] {
			if child != root && child.Parent().SpanID() != root.SpanContext().SpanID() {
				t.Errorf("%s is not below %s", child.Name(), root.Name())
			}
		}
	}
	children := map[string]bool{}
	for _, s := range spans.Ended() {
		children[s.Name()] = true
	}
	for _, name := range []string{"own", "of Context", "of Gone", "of HTTP"} {
		if !children[name] {
			t.Errorf("there is no span %q", name)
		}
	}
}

// A request to an untraced route has a span only if its client has one.
func TestUntraced(t *testing.T) {
	t.Parallel()
	spans := tracetest.NewSpanRecorder()
	s := open(t, server.Options{TracerProvider: sdk.NewTracerProvider(sdk.WithSpanProcessor(spans))}, spanRoutes()...)
	for _, fields := range []string{"", "Traceparent: 00-x\r\n", traceparent} {
		if got := statuses(talk(t, s, "GET /probe HTTP/1.1\r\nHost: test\r\n"+fields+"\r\n")); got != "200" {
			t.Errorf("%q: %s", fields, got)
		}
	}
	testutil.Eventually(t, "the last request has a span", func() bool { return len(spans.Ended()) > 0 })
	if all := spans.Ended(); len(all) != 1 || all[0].Parent().SpanID().String() != clientSpan {
		t.Errorf("%d spans", len(all))
	}
}

// A request belongs to the trace of its client.
func TestTraceparent(t *testing.T) {
	t.Parallel()
	spans := tracetest.NewSpanRecorder()
	s := open(t, server.Options{TracerProvider: sdk.NewTracerProvider(sdk.WithSpanProcessor(spans))}, spanRoutes()...)
	for _, row := range []struct {
		fields string
		known  bool
		state  string
	}{
		{traceparent + "Tracestate: a=1\r\nTracestate: b=2\r\n", true, "a=1,b=2"},
		{strings.ToLower(traceparent), true, ""},
		{traceparent + "Tracestate: \x01\r\n", false, ""}, // a malformed head
		{traceparent + traceparent, false, ""},
		{"Traceparent: 00-" + clientTrace + "\r\n", false, ""},
		{"Tracestate: a=1\r\n", false, ""},
	} {
		before := len(spans.Ended())
		got := talk(t, s, "GET /refused HTTP/1.1\r\nHost: test\r\n"+row.fields+"\r\n")
		if statuses(got) == "400" {
			continue // has no span
		}
		testutil.Eventually(t, "the request has a span", func() bool { return len(spans.Ended()) > before })
		span := spans.Ended()[before]
		known := span.Parent().SpanID().String() == clientSpan && span.SpanContext().TraceID().String() == clientTrace
		if known != row.known || span.SpanContext().TraceState().String() != row.state {
			t.Errorf("%q: parent %v, state %q", row.fields, span.Parent(), span.SpanContext().TraceState())
		}
	}
}

// Log lines of a request have the id of the trace, if it is sampled or the request fails.
func TestTraceInLog(t *testing.T) {
	t.Parallel()
	sampler := sdk.AlwaysRecord(sdk.ParentBased(sdk.NeverSample()))
	log := new(lines)
	s := open(t, server.Options{
		TracerProvider: sdk.NewTracerProvider(sdk.WithSampler(sampler)), Logger: slog.New(slog.NewTextHandler(log, nil)),
		SlowRequest: time.Nanosecond, AccessLog: 1,
	}, spanRoutes()...)
	talk(t, s, "GET /broken HTTP/1.1\r\nHost: test\r\n\r\n")
	testutil.Eventually(t, "all lines are there", func() bool { return strings.Contains(log.String(), `msg="slow request"`) })
	for _, msg := range []string{`msg="request failed"`, `msg="slow request"`, "msg=request"} {
		if !lineHas(log.String(), msg+" ", " trace=") {
			t.Errorf("no line %s with a trace in\n%s", msg, log)
		}
	}
	talk(t, s, "GET /refused HTTP/1.1\r\nHost: test\r\n"+traceparent+"\r\n")
	talk(t, s, "GET /nowhere HTTP/1.1\r\nHost: test\r\n\r\n")
	testutil.Eventually(t, "all lines are there", func() bool { return strings.Contains(log.String(), "target=/nowhere") })
	if !lineHas(log.String(), "target=/refused", "trace="+clientTrace) || lineHas(log.String(), "target=/nowhere", "trace=") {
		t.Errorf("log:\n%s", log)
	}
}

// lineHas reports whether a line has both texts.
func lineHas(all, a, b string) bool {
	for line := range strings.Lines(all) {
		if strings.Contains(line, a) && strings.Contains(line, b) {
			return true
		}
	}
	return false
}
