package jobs

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/trace"

	"github.com/galeserver/gale/internal/tracing"
)

// enqueue passes a complete task to the store. If ctx leads to a span, this step gets a
// span, which is the parent of the attempts of the task.
func (c *Client) enqueue(ctx context.Context, n NewTask) (t *Task, created bool, err error) {
	ctx, span := tracing.Start(ctx, "enqueue", n.Name, trace.SpanKindProducer)
	defer func() { endEnqueue(span, err) }()
	if span.IsRecording() {
		span.SetAttributes(tracing.TaskID.String(n.ID), tracing.TaskName.String(n.Name), tracing.TaskQueue.String(n.Queue))
	}
	n.Headers = tracing.ParentOf(ctx).AddTo(n.Headers, MaxHeaders)
	t, created, err = c.Store.Enqueue(ctx, n)
	if created {
		c.count(n)
	}
	return t, created, err
}

// enqueueGroup is enqueue for a complete group. Its members and its callback, which is a copy
// of the caller's, get the same parent.
func (c *Client) enqueueGroup(ctx context.Context, g NewGroup) (created bool, err error) {
	ctx, span := tracing.Start(ctx, "enqueue group", "", trace.SpanKindProducer)
	defer func() { endEnqueue(span, err) }()
	if span.IsRecording() {
		span.SetAttributes(tracing.GroupID.String(g.ID), tracing.GroupSize.Int(len(g.Members)))
	}
	parent := tracing.ParentOf(ctx)
	for i, n := range g.Members {
		g.Members[i].Headers = parent.AddTo(n.Headers, MaxHeaders)
	}
	if g.Callback != nil { // the store enqueues it without a worker
		g.Callback.Headers = parent.AddTo(g.Callback.Headers, MaxHeaders)
	}
	created, err = c.Store.EnqueueGroup(ctx, g)
	if created {
		for _, n := range g.Members {
			c.count(n)
		}
	}
	return created, err
}

// endEnqueue ends the span of enqueue. That the store refuses a task, because its id is
// taken, is not a failure of the server.
func endEnqueue(span trace.Span, err error) {
	if !errors.Is(err, ErrUnavailable) {
		err = nil
	}
	tracing.End(span, err)
}
