package jobs_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"go.opentelemetry.io/otel/codes"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/galeserver/gale/internal/tracing"
	"github.com/galeserver/gale/jobs"
)

// traced returns a context with a span.
func traced(t *testing.T) (context.Context, *tracetest.SpanRecorder) {
	spans := tracetest.NewSpanRecorder()
	ctx, root := tracing.Root(t.Context(), sdk.NewTracerProvider(sdk.WithSpanProcessor(spans)), "GET", "/", trace.SpanKindServer)
	t.Cleanup(func() { root.End() })
	return ctx, spans
}

// grouping is a store that also accepts groups.
type grouping struct {
	accepting
	group jobs.NewGroup
}

func (g *grouping) EnqueueGroup(_ context.Context, n jobs.NewGroup) (bool, error) {
	g.group = n
	return true, nil
}

// Each enqueued task names the span of its enqueue step, unless it has a parent already.
func TestEnqueueSpans(t *testing.T) {
	ctx, spans := traced(t)
	store := &grouping{}
	c := &jobs.Client{Store: store}
	own := json.RawMessage(`{"traceparent":"mine"}`)
	if _, _, err := c.Enqueue(ctx, jobs.NewTask{ID: "a", Name: "one", Headers: json.RawMessage(`{"x":1}`)}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.Enqueue(ctx, jobs.NewTask{Name: "two", Headers: own}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.EnqueueChain(ctx, []jobs.Link{{NewTask: jobs.NewTask{Name: "three"}}, {NewTask: jobs.NewTask{Name: "four"}}}); err != nil {
		t.Fatal(err)
	}
	callback := jobs.NewTask{Name: "seven"}
	if _, _, err := c.EnqueueGroup(ctx, jobs.NewGroup{ID: "g", Callback: &callback, Members: []jobs.NewTask{{Name: "five"}, {Name: "six", Headers: own}}}); err != nil {
		t.Fatal(err)
	}
	ended := spans.Ended()
	var names []string
	for _, s := range ended {
		if s.SpanKind() != trace.SpanKindProducer || s.Parent().SpanID() != trace.SpanContextFromContext(ctx).SpanID() {
			t.Errorf("span %s: kind %v, parent %v", s.Name(), s.SpanKind(), s.Parent())
		}
		names = append(names, s.Name())
	}
	if got := fmt.Sprint(names); got != "[enqueue one enqueue two enqueue three enqueue group]" {
		t.Fatalf("spans: %s", got)
	}
	parent := func(i int) string {
		return fmt.Sprintf("00-%s-%s-01", ended[i].SpanContext().TraceID(), ended[i].SpanContext().SpanID())
	}
	for i, row := range []struct{ got, want json.RawMessage }{
		{store.all[0].Headers, json.RawMessage(`{"traceparent":"` + parent(0) + `","x":1}`)},
		{store.all[1].Headers, own},
		{store.all[2].Headers, json.RawMessage(`{"traceparent":"` + parent(2) + `"}`)},
		{store.group.Members[0].Headers, json.RawMessage(`{"traceparent":"` + parent(3) + `"}`)},
		{store.group.Members[1].Headers, own},
		{store.group.Callback.Headers, json.RawMessage(`{"traceparent":"` + parent(3) + `"}`)},
		{callback.Headers, nil},
	} {
		if string(row.got) != string(row.want) {
			t.Errorf("task %d: headers %s, want %s", i, row.got, row.want)
		}
	}
	if got := ended[0].Attributes(); len(got) != 3 || got[0].Value.AsString() != "a" || got[1].Value.AsString() != "one" || got[2].Value.AsString() != "default" {
		t.Errorf("attributes: %v", got)
	}
}

// failing is a store that refuses every task.
type failing struct {
	jobs.Store
	err error
}

func (f failing) Enqueue(context.Context, jobs.NewTask) (*jobs.Task, bool, error) {
	return nil, false, f.err
}

// Only an error of the store is an error of the span.
func TestEnqueueSpanFails(t *testing.T) {
	for err, want := range map[error]codes.Code{jobs.ErrUnavailable: codes.Error, jobs.ErrTaken: codes.Unset} {
		ctx, spans := traced(t)
		_, _, _ = (&jobs.Client{Store: failing{err: err}}).Enqueue(ctx, jobs.NewTask{Name: "one"})
		if ended := spans.Ended(); len(ended) != 1 || ended[0].Status().Code != want {
			t.Errorf("%v: %v", err, ended)
		}
	}
}

// Without a span, the headers stay as they are, and a workflow is the same whether it is
// enqueued in a trace or not.
func TestEnqueueWithoutTrace(t *testing.T) {
	store := &accepting{}
	c := &jobs.Client{Store: store}
	chain := []jobs.Link{{NewTask: jobs.NewTask{ID: "a", Name: "one"}}, {NewTask: jobs.NewTask{ID: "b", Name: "two"}}}
	ctx, _ := traced(t)
	for _, ctx := range []context.Context{t.Context(), ctx} {
		if _, _, err := c.EnqueueChain(ctx, chain); err != nil {
			t.Fatal(err)
		}
	}
	if store.all[0].Headers != nil || store.all[1].Headers == nil || store.all[0].Digest != store.all[1].Digest {
		t.Errorf("tasks: %+v", store.all)
	}
}

func TestTaskTrace(t *testing.T) {
	for headers, want := range map[string]string{
		``: "", `{}`: "", `{"traceparent":1}`: "", `{"traceparent":"x"}`: "",
		`{"traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"}`: "4bf92f3577b34da6a3ce929d0e0e4736",
	} {
		task := jobs.Task{Headers: json.RawMessage(headers)}
		if task.Repair(); task.Trace != want {
			t.Errorf("%s: trace %q", headers, task.Trace)
		}
	}
}
