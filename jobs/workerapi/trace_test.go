package workerapi_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/galeserver/gale/internal/tracing"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/sqlite"
	"github.com/galeserver/gale/jobs/workerapi"
)

const (
	traceID = "4bf92f3577b34da6a3ce929d0e0e4736"
	parent  = "00f067aa0ba902b7"
)

func header(values map[string]string) json.RawMessage {
	text, _ := json.Marshal(values) // cannot fail
	return text
}

func attributes(s sdk.ReadOnlySpan) map[string]string {
	all := map[string]string{}
	for _, a := range s.Attributes() {
		all[string(a.Key)] = a.Value.String()
	}
	return all
}

// spanOf returns the identity of the span in the headers of a task.
func spanOf(headers json.RawMessage) string { return tracing.ParentIn(headers).Span }

// The span of an attempt is written by the process that ends it, with the id that the worker
// got from another process with the lease.
func TestSpanOfForeignAttempt(t *testing.T) {
	spans := tracetest.NewSpanRecorder()
	var lines bytes.Buffer
	p := newPlaceWith(t, 2, sqlite.Options{}, workerapi.Options{
		TracerProvider: sdk.NewTracerProvider(sdk.WithSpanProcessor(spans), sdk.WithIDGenerator(tracing.IDs{})),
		Logger:         slog.New(tracing.LogHandler(slog.NewTextHandler(&lines, nil))),
	})
	session := announce(t, p.processes[0], named("work", "other")...)
	task := p.enqueue(t, jobs.NewTask{Name: "work", MaxRetries: 3, Headers: header(map[string]string{
		"traceparent": "00-" + traceID + "-" + parent + "-01", "tracestate": "a=b", "user": "u",
	})})
	given := map[string]bool{}
	for i, end := range []struct {
		entry   workerapi.FinishEntry
		state   jobs.State
		outcome string
		status  codes.Code
	}{
		{workerapi.FinishEntry{State: "lost"}, jobs.StateQueued, "lost", codes.Error},
		{workerapi.FinishEntry{State: "retry", Error: "boom", Delay: new(0.0)}, jobs.StateRetrying, "retrying", codes.Error},
		{workerapi.FinishEntry{State: "success", Next: []json.RawMessage{
			json.RawMessage(`{"ID":"next","Name":"other"}`), json.RawMessage(`{"ID":"own","Name":"other","Headers":{"traceparent":"mine"}}`),
		}}, jobs.StateSuccess, "success", codes.Unset},
	} {
		leased := lease(t, p.processes[i%2], session, 1)
		if len(leased) != 1 {
			t.Fatalf("attempt %d: leased %+v", i+1, leased)
		}
		got := tracing.ParentIn(leased[0].Headers)
		id := strings.Split(got.Span, "-")
		if len(id) != 4 || id[1] != traceID || id[2] == parent || id[3] != "01" || given[id[2]] || got.State != "a=b" {
			t.Fatalf("attempt %d has the headers %s", i+1, leased[0].Headers)
		}
		if given[id[2]] = true; !strings.Contains(string(leased[0].Headers), `"user":"u"`) {
			t.Errorf("attempt %d has lost a header: %s", i+1, leased[0].Headers)
		}
		end.entry.Lease = leased[0].Lease
		for range 2 { // a repeated call makes no second span
			finish(t, p.processes[(i+1)%2], end.entry, 200, end.state)
		}
		ended := spans.Ended()
		if len(ended) != i+1 {
			t.Fatalf("%d spans after attempt %d", len(ended), i+1)
		}
		s, lost := ended[i], min(i, 1)
		if s.Name() != "run work" || s.SpanContext().SpanID().String() != id[2] || s.Parent().SpanID().String() != parent || s.Status().Code != end.status {
			t.Errorf("span %+v below %v: %+v", s.SpanContext(), s.Parent(), s.Status())
		}
		all := attributes(s)
		if all["gale.task.id"] != task.ID || all["gale.task.outcome"] != end.outcome || all["gale.worker"] != session || all["gale.task.attempt"] != []string{"1", "2", "3"}[i] {
			t.Errorf("attributes %v", all)
		}
		if !s.StartTime().Equal(*leased[0].Task.Started) || len(s.Events()) != lost {
			t.Errorf("span starts at %v with the events %+v, attempt at %v", s.StartTime(), s.Events(), leased[0].Task.Started)
		}
		if lost == 1 && s.Events()[0].Attributes[0] != attribute.Int("gale.task.lost", 1) {
			t.Errorf("events %+v", s.Events())
		}
		if next := p.find(t, "next"); next != nil && spanOf(next.Headers) != got.Span {
			t.Errorf("the next task has the headers %s", next.Headers)
		}
	}
	if own := p.find(t, "own"); own == nil || spanOf(own.Headers) != "mine" {
		t.Errorf("the task with a trace of its own is %+v", own)
	}
	if n := strings.Count(lines.String(), "trace="+traceID); n != 6 { // started and ended, three times
		t.Errorf("%d lines with the trace:\n%s", n, lines.String())
	}
}

// find returns a task, or nil if there is none.
func (p *place) find(t *testing.T, id string) *jobs.Task {
	t.Helper()
	task, err := p.store.Get(t.Context(), id)
	if err != nil {
		return nil
	}
	return task
}

// A task that was enqueued outside of a trace, and an attempt that its worker gives back.
func TestSpansOfOtherForeignAttempts(t *testing.T) {
	spans := tracetest.NewSpanRecorder()
	p := newPlaceWith(t, 1, sqlite.Options{}, workerapi.Options{
		TracerProvider: sdk.NewTracerProvider(sdk.WithSpanProcessor(spans), sdk.WithIDGenerator(tracing.IDs{})),
	})
	s := p.processes[0]
	session := announce(t, s, named("work")...)
	p.enqueue(t, jobs.NewTask{Name: "work", Headers: json.RawMessage(`{"traceparent":"wrong"}`)})
	l := lease(t, s, session, 1)[0]
	if string(l.Headers) != `{"traceparent":"wrong"}` {
		t.Errorf("headers %s", l.Headers)
	}
	if r := s.Release(t.Context(), []workerapi.ReleaseEntry{{Lease: l.Lease}}); r[0].Code != 200 {
		t.Fatalf("%+v", r)
	}
	l = lease(t, s, session, 1)[0]
	finish(t, s, workerapi.FinishEntry{Lease: l.Lease, State: "success"}, 200, jobs.StateSuccess)
	for i, outcome := range []string{"released", "success"} {
		ended := spans.Ended()
		if len(ended) != 2 {
			t.Fatalf("%d spans", len(ended))
		}
		if got := ended[i]; got.Parent().IsValid() || got.Status().Code != codes.Unset || attributes(got)["gale.task.outcome"] != outcome {
			t.Errorf("span %d: parent %v, %+v, %v", i, got.Parent(), got.Status(), attributes(got))
		}
	}
}
