package otlp_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/galeserver/gale/app/internal/otlp"
	"github.com/galeserver/gale/internal/otlptest"
	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/internal/tracing"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]otlp.Address{
		"otlp://localhost":                 {Host: "localhost:4318", Path: "/v1/traces"},
		"otlp://localhost:4319/":           {Host: "localhost:4319", Path: "/v1/traces"},
		"otlp://[::1]":                     {Host: "[::1]:4318", Path: "/v1/traces"},
		"otlps://traces.example.com:443/a": {Host: "traces.example.com:443", Path: "/a", Secure: true},
	} {
		if got, err := otlp.Parse(text); err != nil || got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for text, want := range map[string]string{
		"localhost:4318": "begins neither", "http://localhost:4318": "begins neither", "otlp://": "has no host", "otlp://:4318": "has no host",
		"otlp://u:s3cret@host": "must not contain a user", "otlp://host?x=1": "query", "otlp://host#x": "fragment",
		"otlp://host:0": "port", "otlp://host:70000": "port", "otlp://host:x": "is not a URL", "otlp://%zz": "is not a URL",
	} {
		if _, err := otlp.Parse(text); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

// fixture is an exporter that sends to a receiver.
type fixture struct {
	*otlp.Exporter
	receiver *otlptest.Receiver
	counters *otlp.Counters
	log      *testutil.LogBuffer
}

func start(t *testing.T, rate float64) *fixture {
	t.Helper()
	f := &fixture{receiver: otlptest.New(t), counters: new(otlp.Counters), log: &testutil.LogBuffer{}}
	address, err := otlp.Parse(f.receiver.URL)
	if err != nil {
		t.Fatal(err)
	}
	f.Exporter, err = otlp.New(t.Context(), otlp.Options{
		Address: address, Rate: rate, Counters: f.counters, Logger: slog.New(slog.NewTextHandler(f.log, nil)),
		Attributes: []attribute.KeyValue{attribute.String("service.name", "shop")},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.close(t) })
	return f
}

// close sends the last spans.
func (f *fixture) close(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testutil.Patience)
	defer cancel()
	if err := f.Close(ctx); err != nil {
		t.Error(err)
	}
}

// request makes the spans of a request whose upload fails with err.
func (f *fixture) request(ctx context.Context, err error) {
	ctx, root := tracing.Root(ctx, f.Provider(), "GET", "/", trace.SpanKindServer)
	_, child := tracing.Start(ctx, "store file", "", trace.SpanKindInternal)
	tracing.End(child, err)
	tracing.End(root, nil)
}

// A part of the traces is sent, and each one with an error, as a whole and as sampled.
func TestSampling(t *testing.T) {
	t.Parallel()
	f := start(t, 0.1)
	const total = 1000 // sampled: 100 on average, with a standard deviation of 9.5
	failed := 0
	for i := range total {
		var err error
		if i%100 == 0 {
			failed++
			err = fmt.Errorf("failure %d", i)
		}
		f.request(t.Context(), err)
	}
	f.close(t)
	roots, children, reasons := map[string]bool{}, map[string]string{}, map[string]bool{}
	for _, s := range f.receiver.Spans() {
		if !s.Sampled || s.Resource["service.name"] != "shop" {
			t.Fatalf("span: %+v", s)
		}
		if s.Error {
			reasons[s.Reason] = true
		}
		if s.ParentID == "" {
			roots[s.SpanID] = true
		} else {
			children[s.SpanID] = s.ParentID
		}
	}
	if len(reasons) != failed {
		t.Errorf("failed traces: %v", reasons)
	}
	if n := len(roots) - failed; n < 40 || n > 160 {
		t.Errorf("%d of %d traces are sampled", n, total)
	}
	if len(children) != len(roots) {
		t.Errorf("%d roots, %d spans below them", len(roots), len(children))
	}
	for _, parent := range children {
		if !roots[parent] {
			t.Fatalf("a span has no root")
		}
	}
	if got := f.counters.Stats(); got.Sent != int64(2*len(roots)) || got.Dropped != 0 {
		t.Errorf("counters: %+v, %d traces", got, len(roots))
	}
}

// The flag of a trace from another program counts, not the rate. Errors are sent in any case.
func TestSamplingOfOtherPrograms(t *testing.T) {
	t.Parallel()
	const id = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0"
	for _, row := range []struct {
		name string
		rate float64
		flag string
		err  error
		want int
	}{
		{"sampled", 0, "1", nil, 2},
		{"not sampled", 1, "0", nil, 0},
		{"not sampled, failed", 0, "0", errors.New("failure"), 2},
	} {
		f := start(t, row.rate)
		f.request(tracing.Parent{Span: id + row.flag}.Context(t.Context()), row.err)
		f.close(t)
		if got := f.receiver.Spans(); len(got) != row.want {
			t.Errorf("%s: %+v", row.name, got)
		}
	}
}

// Of a long trace that is not sampled, the first spans and the last one are sent.
func TestLongTrace(t *testing.T) {
	t.Parallel()
	f := start(t, 0)
	ctx, root := tracing.Root(t.Context(), f.Provider(), "root", "", trace.SpanKindServer)
	for range 1000 {
		_, child := tracing.Start(ctx, "child", "", trace.SpanKindInternal)
		child.End()
	}
	tracing.End(root, errors.New("failure"))
	f.close(t)
	got := f.receiver.Spans()
	if len(got) != 128 || got[127].Name != "root" || !got[127].Error {
		t.Errorf("%d spans", len(got))
	}
	if s := f.counters.Stats(); s.Sent != 128 || s.Dropped != 1001-128 {
		t.Errorf("counters: %+v", s)
	}
}

// While the Collector is away, requests do not wait, spans are counted, and few lines are
// logged. Later it gets spans again.
func TestCollectorAway(t *testing.T) {
	t.Parallel()
	f := start(t, 1)
	f.receiver.Status.Store(400) // is not repeated by the SDK
	testutil.Eventually(t, "spans are dropped", func() bool {
		f.request(t.Context(), nil)
		return f.counters.Stats().Dropped > 0
	})
	f.log.Await(t, "cannot send spans to the collector of -trace")
	for range 10_000 {
		f.request(t.Context(), nil)
	}
	f.receiver.Status.Store(0)
	testutil.Eventually(t, "spans arrive again", func() bool {
		f.request(t.Context(), nil)
		return f.counters.Stats().Sent > 0
	})
	f.log.Await(t, "sending spans to the collector of -trace again")
	if lines := strings.Count(f.log.String(), "cannot send"); lines > 10 {
		t.Errorf("%d log lines", lines)
	}
}

// Close gives up when its context ends, and counts what is lost.
func TestCloseWithoutCollector(t *testing.T) {
	t.Parallel()
	f := start(t, 1)
	f.receiver.Status.Store(503) // is repeated by the SDK
	f.request(t.Context(), nil)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := f.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error: %v", err)
	}
	if s := f.counters.Stats(); s.Dropped != 2 || s.Sent != 0 {
		t.Errorf("counters: %+v", s)
	}
}

func TestOff(t *testing.T) {
	var e *otlp.Exporter
	if e.Provider() != nil || e.Close(t.Context()) != nil {
		t.Error("a nil exporter does something")
	}
}
