package upstream

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"go.opentelemetry.io/otel/codes"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

// The upstream gets the span of the fetch, which is below that of the context.
func TestFetchInTrace(t *testing.T) {
	t.Parallel()
	got := make(chan string, 2)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got <- r.Header.Get("traceparent")
		if r.URL.Path == "/error" {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	defer srv.Close()
	spans := tracetest.NewSpanRecorder()
	ctx, root := sdk.NewTracerProvider(sdk.WithSpanProcessor(spans)).Tracer("test").Start(t.Context(), "root")
	for path, status := range map[string]codes.Code{"/": codes.Unset, "/error": codes.Error} {
		spans.Reset()
		c, err := New(srv.URL+path, Options{})
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Fetch(ctx)
		c.Close()
		ended := spans.Ended()
		if len(ended) != 1 || ended[0].Parent().SpanID() != root.SpanContext().SpanID() || ended[0].Status().Code != status {
			t.Fatalf("%s: spans %v", path, ended)
		}
		span := ended[0].SpanContext()
		if parent := <-got; parent != "00-"+span.TraceID().String()+"-"+span.SpanID().String()+"-01" {
			t.Errorf("%s: traceparent %q", path, parent)
		}
	}
	c, err := New(srv.URL, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Fetch(t.Context()); err != nil {
		t.Fatal(err)
	}
	if parent := <-got; parent != "" {
		t.Errorf("without a span: traceparent %q", parent)
	}
}
