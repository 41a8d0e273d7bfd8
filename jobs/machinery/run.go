package machinery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/RichardKnop/machinery/v2/tasks"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
	"github.com/galeserver/gale/pool"
)

// run is one attempt on its way through machinery.
type run struct {
	lease     *driver.Lease
	handler   jobs.Handler
	job       *jobs.Job
	report    *report
	kept      keptLog
	signature *tasks.Signature
	ctx       context.Context //nolint:containedctx // an attempt is its context
	cancel    context.CancelCauseFunc
	next      func(jobs.State, json.RawMessage, string) []jobs.NewTask // what follows the task
	log       *slog.Logger                                             // for what the handler need not hear of
	overrun   time.Duration                                            // how long the handler may ignore the end of ctx
	stuck     func()                                                   // called if it does
	took      time.Duration                                            // from its beginning until the handler had ended; 0 if it did not begin

	// outcome is gathered from what machinery tells broker and backend; its
	// State stays empty if the attempt did not come to an end of its own.
	outcome driver.Outcome
}

// call does the handler's work and words its end for machinery: nil is a
// success, ErrRetryTaskLater another attempt, any other error the end. The result
// stays with the job: machinery would reflect on it and write it as text.
func (r *run) call() error {
	ctx := r.ctx
	if limit := r.lease.Task.Timeout; limit > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeoutCause(ctx, limit, fmt.Errorf("%w after %v", jobs.ErrTimeout, limit))
		defer stop()
	}
	err := r.handle(ctx)
	if panicked, ok := errors.AsType[*pool.PanicError](err); ok {
		r.log.Error("task panicked", "panic", panicked.Value, "stack", string(panicked.Stack))
	}
	if err == nil {
		return nil
	}
	if errors.Is(context.Cause(ctx), jobs.ErrTimeout) && !errors.Is(err, jobs.ErrTimeout) {
		err = context.Cause(ctx) // whatever the handler made of it
	}
	r.outcome.Error = err.Error()
	if delay, again := r.retry(err); again {
		return tasks.NewErrRetryTaskLater(err.Error(), delay)
	}
	return err
}

// abandoned reports whether the attempt was taken from the handler before it
// ended: what it returned says nothing about the task.
func (r *run) abandoned() bool {
	cause := context.Cause(r.ctx)
	return r.outcome.State != jobs.StateSuccess && (errors.Is(cause, jobs.ErrShutdown) || errors.Is(cause, jobs.ErrLeaseLost))
}

// publishes takes a message that machinery sends while the task runs: the task
// itself once more is a retry. It reports whether the message is the run's.
func (r *run) publishes(s *tasks.Signature) bool {
	if s != r.signature {
		return false
	}
	r.outcome.State, r.outcome.RetryAt = jobs.StateRetrying, *s.ETA
	return true
}

// ends takes the end of the attempt, with the tasks that follow it.
func (r *run) ends(state jobs.State, result json.RawMessage, reason string) {
	r.outcome.State, r.outcome.Result, r.outcome.Error = state, result, reason
	r.outcome.Next = r.next(state, result, reason)
}
