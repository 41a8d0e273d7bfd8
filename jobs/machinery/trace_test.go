package machinery_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/internal/tracing"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
	"github.com/galeserver/gale/jobs/machinery"
)

const (
	traceID  = "4bf92f3577b34da6a3ce929d0e0e4736"
	enqueuer = "00f067aa0ba902b7"
)

var traced = json.RawMessage(`{"traceparent":"00-` + traceID + `-` + enqueuer + `-01","user":"u"}`)

// recorder is a worker's Tracer that keeps the spans.
type recorder struct {
	*tracetest.SpanRecorder
	provider trace.TracerProvider
}

func newRecorder() recorder {
	r := recorder{SpanRecorder: tracetest.NewSpanRecorder()}
	r.provider = sdk.NewTracerProvider(sdk.WithSpanProcessor(r))
	return r
}

// await waits until n spans have ended.
func (r recorder) await(t *testing.T, n int) []sdk.ReadOnlySpan {
	t.Helper()
	testutil.Eventually(t, "the spans have ended", func() bool { return len(r.Ended()) >= n })
	if all := r.Ended(); len(all) == n {
		return all
	}
	t.Fatalf("more than %d spans: %v", n, r.Ended())
	return nil
}

func (r recorder) named(t *testing.T, name string) sdk.ReadOnlySpan {
	t.Helper()
	for _, s := range r.Ended() {
		if s.Name() == name {
			return s
		}
	}
	t.Fatalf("no span %q", name)
	return nil
}

func outcomeOf(s sdk.ReadOnlySpan) string {
	for _, a := range s.Attributes() {
		if a.Key == "gale.task.outcome" {
			return a.Value.AsString()
		}
	}
	return ""
}

// The attempts at a task are below the span that enqueued it, and the context of the handler
// has the span of the attempt.
func TestSpanOfAttempt(t *testing.T) {
	f := newFixture(t, jobs.Definition{Name: "second", Handler: func(ctx context.Context, job *jobs.Job) error {
		job.Log.Info("line of the handler")
		job.Log.InfoContext(ctx, "line with a context")
		_, span := tracing.Start(ctx, "inside", "", trace.SpanKindInternal)
		span.End()
		if job.Attempt == 1 {
			return jobs.RetryAfter(0, errors.New("not yet"))
		}
		return nil
	}})
	spans, lines := newRecorder(), &bytes.Buffer{}
	stop := f.work(t, machinery.Options{TracerProvider: spans.provider, Logger: slog.New(tracing.LogHandler(slog.NewTextHandler(lines, nil)))})
	task := f.enqueue(t, jobs.NewTask{Name: "second", MaxRetries: 1, Headers: traced})
	f.await(t, task.ID, in(jobs.StateSuccess))
	all := spans.await(t, 4)
	for i, want := range []struct {
		outcome string
		status  codes.Code
	}{{"retrying", codes.Error}, {"success", codes.Unset}} {
		inside, s := all[2*i], all[2*i+1]
		if s.Name() != "run second" || s.SpanKind() != trace.SpanKindConsumer || s.Parent().SpanID().String() != enqueuer || s.SpanContext().TraceID().String() != traceID {
			t.Errorf("%s, %v, below %v", s.Name(), s.SpanKind(), s.Parent())
		}
		if inside.Parent().SpanID() != s.SpanContext().SpanID() {
			t.Errorf("the span of the handler is below %v", inside.Parent())
		}
		if s.Status().Code != want.status || outcomeOf(s) != want.outcome || len(s.Events()) > 0 {
			t.Errorf("attempt %d: %+v, %s, %+v", i+1, s.Status(), outcomeOf(s), s.Events())
		}
		got := attribute.NewSet(s.Attributes()...)
		for _, a := range []attribute.KeyValue{
			tracing.TaskID.String(task.ID), tracing.TaskQueue.String("default"), attribute.Int("gale.task.attempt", i+1), attribute.String("gale.worker", "test/worker.0"),
		} {
			if v, _ := got.Value(a.Key); v != a.Value {
				t.Errorf("attribute %s is %v, want %v", a.Key, v.String(), a.Value.String())
			}
		}
	}
	stop()
	for line := range strings.Lines(lines.String()) {
		if n := strings.Count(line, "trace="+traceID); n > 1 || n == 0 && strings.Contains(line, "id="+task.ID) {
			t.Errorf("the line has the trace %d times: %s", n, line)
		}
	}
	if n := strings.Count(lines.String(), "trace="); n != 8 { // started, two of the handler, ended; twice
		t.Errorf("%d lines with a trace:\n%s", n, lines)
	}
	log, err := f.store.Log(t.Context(), task.ID)
	if err != nil || strings.Contains(log, "trace=") {
		t.Errorf("log of the task: %s, %v", log, err)
	}
}

// What follows a task belongs to the attempt that ended it, and keeps a trace of its own.
func TestSpanOfFollowers(t *testing.T) {
	f := newFixture(t, echo, jobs.Definition{Name: "fail", Handler: func(context.Context, *jobs.Job) error { return errors.New("broken") }},
		jobs.Definition{Name: "report", Args: []jobs.Arg{{Name: "reason", Type: jobs.ArgString}}, Handler: func(context.Context, *jobs.Job) error { return nil }})
	spans := newRecorder()
	f.work(t, machinery.Options{TracerProvider: spans.provider})
	own := json.RawMessage(`{"traceparent":"00-` + strings.Repeat("a", 32) + `-` + strings.Repeat("b", 16) + `-01"}`)
	task := f.enqueue(t, jobs.NewTask{Name: "fail", Headers: traced, LinkError: []jobs.Link{
		{NewTask: jobs.NewTask{ID: "report", Name: "report"}}, {NewTask: jobs.NewTask{ID: "own", Name: "echo", Headers: own}, Immutable: true},
	}})
	f.await(t, task.ID, final)
	for _, id := range []string{"report", "own"} {
		f.await(t, id, in(jobs.StateSuccess))
	}
	spans.await(t, 3)
	failed := spans.named(t, "run fail")
	if outcomeOf(failed) != "failed" || failed.Status().Code != codes.Error || failed.Status().Description != "broken" {
		t.Errorf("failed attempt: %s, %+v", outcomeOf(failed), failed.Status())
	}
	if got := spans.named(t, "run report").Parent(); got.SpanID() != failed.SpanContext().SpanID() {
		t.Errorf("the linked task is below %v", got)
	}
	if got := spans.named(t, "run echo").Parent().SpanID().String(); got != strings.Repeat("b", 16) {
		t.Errorf("the task with headers of its own is below %s", got)
	}
}

// The attempt after a lost one says so, because the lost one has no span.
func TestSpanAfterLostAttempt(t *testing.T) {
	f := newFixture(t, echo)
	task := f.enqueue(t, jobs.NewTask{Name: "echo", Headers: traced})
	if _, err := f.store.Lease(t.Context(), driver.LeaseRequest{Owner: "killed", Queues: []string{"default"}, Names: []string{"echo"}, Max: 1}); err != nil {
		t.Fatal(err)
	}
	if n, err := f.store.Reclaim(t.Context(), "killed"); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	spans := newRecorder()
	f.work(t, machinery.Options{TracerProvider: spans.provider})
	f.await(t, task.ID, in(jobs.StateSuccess))
	s := spans.await(t, 1)[0]
	if len(s.Events()) != 1 || s.Events()[0].Name != "attempt lost" || s.Events()[0].Attributes[0] != attribute.Int("gale.task.lost", 1) {
		t.Errorf("events %+v", s.Events())
	}
	all := attribute.NewSet(s.Attributes()...)
	if v, _ := all.Value("gale.task.attempt"); v.AsInt64() != 2 {
		t.Errorf("attempt %v", v.String())
	}
}

// Attempts that end without an outcome.
func TestSpanWithoutOutcome(t *testing.T) {
	started := make(chan struct{}, 2)
	f := newFixture(t, jobs.Definition{Name: "wait", Handler: func(ctx context.Context, _ *jobs.Job) error {
		started <- struct{}{}
		<-ctx.Done()
		return context.Cause(ctx)
	}})
	spans := newRecorder()
	stop := f.work(t, machinery.Options{TracerProvider: spans.provider, CancelPoll: 10 * time.Millisecond, Heartbeat: 10 * time.Millisecond, Grace: time.Millisecond})
	check := func(n int, outcome string, status codes.Code) {
		t.Helper()
		if s := spans.await(t, n)[n-1]; outcomeOf(s) != outcome || s.Status().Code != status {
			t.Errorf("%s, %+v; want %s", outcomeOf(s), s.Status(), outcome)
		}
	}
	cancelled := f.enqueue(t, jobs.NewTask{Name: "wait"})
	<-started
	if _, err := f.client.Cancel(t.Context(), cancelled.ID); err != nil {
		t.Fatal(err)
	}
	check(1, "cancelled", codes.Unset)
	f.enqueue(t, jobs.NewTask{Name: "wait"})
	<-started
	stop()
	check(2, "released", codes.Unset)
	if s := spans.Ended()[0]; s.Parent().IsValid() {
		t.Errorf("a task without a trace has the parent %v", s.Parent())
	}
}

// Without a Tracer the handler's context has no span, whatever the headers say.
func TestWithoutTracer(t *testing.T) {
	found := make(chan trace.SpanContext, 1)
	f := newFixture(t, jobs.Definition{Name: "look", Handler: func(ctx context.Context, _ *jobs.Job) error {
		found <- trace.SpanContextFromContext(ctx)
		return nil
	}})
	f.work(t, machinery.Options{})
	f.await(t, f.enqueue(t, jobs.NewTask{Name: "look", Headers: traced}).ID, in(jobs.StateSuccess))
	if got := <-found; got.IsValid() {
		t.Errorf("span %v", got)
	}
}
