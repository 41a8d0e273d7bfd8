package metrics

import (
	"context"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"go.opentelemetry.io/otel/attribute"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/galeserver/gale/internal/tasktrace"
	"github.com/galeserver/gale/internal/tracing"
	"github.com/galeserver/gale/jobs/meter"
	"github.com/galeserver/gale/prefork"
)

// ended returns a span of a trace whose id consists of one digit.
func ended(digit string, kind trace.SpanKind, at time.Time, took time.Duration, attrs ...attribute.KeyValue) sdk.ReadOnlySpan {
	id, _ := trace.TraceIDFromHex(strings.Repeat(digit, 32))
	return tracetest.SpanStub{
		SpanContext: trace.NewSpanContext(trace.SpanContextConfig{TraceID: id}), SpanKind: kind,
		StartTime: at.Add(-took), EndTime: at, Attributes: attrs,
	}.Snapshot()
}

func attemptSpan(digit string, at time.Time, took time.Duration, outcome string) sdk.ReadOnlySpan {
	return ended(digit, trace.SpanKindConsumer, at, took, tracing.TaskName.String("mail"), tasktrace.Outcome.String(outcome))
}

func openMetrics(t *testing.T, families []*dto.MetricFamily) string {
	t.Helper()
	var b strings.Builder
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToOpenMetrics(&b, f); err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}

// Each bucket shows the newest trace of all processes of its slot, also of those that have
// ended, and no count changes.
func TestExemplars(t *testing.T) {
	at := time.Unix(1700000000, 0)
	var tally prefork.AppCounters
	Requests{&tally}.Count("GET", 200, 4*time.Millisecond)
	report := func(attempts int, spans ...sdk.ReadOnlySpan) []byte {
		tasks := NewTasks()
		for range attempts {
			tasks.Took(meter.EventFailed, "mail", 20*time.Millisecond)
		}
		var e Exemplars
		for _, s := range spans {
			e.Observe(s)
		}
		families, err := collect(e.With(NewRegistry(Sources{Tasks: tasks})))
		if err != nil {
			t.Fatal(err)
		}
		return families
	}
	server := func(digit string, at time.Time, took time.Duration) sdk.ReadOnlySpan {
		return ended(digit, trace.SpanKindServer, at, took)
	}
	o := prefork.Stats{Slots: []prefork.SlotStats{{
		SlotStatus: prefork.SlotStatus{Slot: "serve.0"}, AppCounters: words(&tally),
		Reports: [][]byte{
			report(1, server("1", at, 4*time.Millisecond), server("2", at.Add(time.Second), 5*time.Millisecond), server("3", at, time.Hour),
				attemptSpan("4", at, 20*time.Millisecond, "failed"), attemptSpan("5", at, 20*time.Millisecond, tasktrace.OutcomeLost),
				ended("6", trace.SpanKindInternal, at, time.Millisecond)),
			report(2, server("7", at, 3*time.Millisecond), attemptSpan("8", at.Add(time.Second), 30*time.Millisecond, "cancelled")),
		},
		MergedReport: Merge(nil, report(4, server("9", at, 900*time.Microsecond), attemptSpan("a", at, time.Second, "failed"))),
	}, {SlotStatus: prefork.SlotStatus{Slot: "serve.1"}, AppCounters: words(&prefork.AppCounters{}), Reports: [][]byte{report(0, server("b", at, time.Millisecond))}}}}
	c := NewCollector(func(context.Context) (prefork.Stats, error) { return o, nil }, nil, "")
	families, err := c.Gather(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := openMetrics(t, families)
	example := func(digit, value, at string) string {
		return ` # {trace_id="` + strings.Repeat(digit, 32) + `"} ` + value + " " + at
	}
	for _, line := range []string{
		`gale_http_request_duration_seconds_bucket{slot="serve.0",le="0.001"} 0` + example("9", "0.0009", "1.7e+09"),
		`gale_http_request_duration_seconds_bucket{slot="serve.0",le="0.0025"} 0`,
		`gale_http_request_duration_seconds_bucket{slot="serve.0",le="0.005"} 1` + example("2", "0.005", "1.700000001e+09"),
		`gale_http_request_duration_seconds_bucket{slot="serve.0",le="+Inf"} 1`,
		`gale_http_request_duration_seconds_count{slot="serve.0"} 1`,
		`gale_task_duration_seconds_bucket{outcome="failed",slot="serve.0",task="mail",le="0.05"} 7` + example("8", "0.03", "1.700000001e+09"),
		`gale_task_duration_seconds_bucket{outcome="failed",slot="serve.0",task="mail",le="1.0"} 7` + example("a", "1.0", "1.7e+09"),
		`gale_task_duration_seconds_count{outcome="failed",slot="serve.0",task="mail"} 7`,
	} {
		if !strings.Contains(got, "\n"+line+"\n") {
			t.Errorf("no line %s", line)
		}
	}
	if n := strings.Count(got, "trace_id"); n != 4 {
		t.Errorf("%d examples, want 4", n)
	}
	if strings.Contains(got, `gale_http_request_duration_seconds_count{slot="serve.1"}`) {
		t.Error("a histogram of a slot without requests")
	}
	if t.Failed() {
		t.Log(got)
	}
}
