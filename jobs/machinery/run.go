package machinery

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/RichardKnop/machinery/v2/tasks"
	"go.opentelemetry.io/otel/trace"

	"github.com/galeserver/gale/internal/tasktrace"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
	"github.com/galeserver/gale/pool"
)

// run is an attempt under way.
type run struct {
	lease     *driver.Lease
	handler   jobs.Handler
	job       *jobs.Job
	report    *report
	taskLog   taskLog
	signature *tasks.Signature
	ctx       context.Context //nolint:containedctx // ends when the attempt must stop
	cancel    context.CancelCauseFunc
	span      trace.Span    // does nothing without tracing
	log       *slog.Logger  // log of the worker, with the attributes of the attempt
	overrun   time.Duration // time after the end of ctx in which the handler must return
	stuck     func()        // called if the handler does not return within overrun
	took      time.Duration // run time of the handler; 0 if it did not start
	aborted   atomic.Bool   // whether the attempt was ended and counted because its lease is lost

	// next returns what to enqueue with the outcome, see Registry.Next.
	next func(jobs.State, json.RawMessage, string) ([]jobs.NewTask, []jobs.NewGroup)
	// outcome is the end of the attempt, set by machinery's calls of broker and backend.
	// Its State stays empty if machinery does not report an end.
	outcome driver.Outcome
}

// call runs the handler and returns its result in machinery's terms: nil for a success,
// ErrRetryTaskLater for another attempt, any other error for a final failure. The result
// value stays in the Job, because machinery would convert it to text.
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
		err = context.Cause(ctx) // the handler may have returned any other error
	}
	r.outcome.Error = err.Error()
	if delay, again := r.retry(err); again {
		return tasks.NewErrRetryTaskLater(err.Error(), delay)
	}
	return err
}

// abandoned reports whether the attempt ended because of a shutdown or a lost lease. Then an
// error of the handler is not counted as a failure of the task.
func (r *run) abandoned() bool {
	cause := context.Cause(r.ctx)
	return r.outcome.State != jobs.StateSuccess && (errors.Is(cause, jobs.ErrShutdown) || errors.Is(cause, jobs.ErrLeaseLost))
}

// setRetry records a retry if s is the signature of the run, and reports whether it is. s is
// a signature that machinery publishes.
func (r *run) setRetry(s *tasks.Signature) bool {
	if s != r.signature {
		return false
	}
	r.outcome.State, r.outcome.RetryAt = jobs.StateRetrying, *s.ETA
	return true
}

// setOutcome records the end of the attempt and the tasks that follow it.
func (r *run) setOutcome(state jobs.State, result json.RawMessage, reason string) {
	r.outcome.State, r.outcome.Result, r.outcome.Error = state, result, reason
	r.outcome.Next, r.outcome.NextGroups = r.next(state, result, reason)
}

// endSpan ends the span of the attempt.
func (r *run) endSpan() {
	cause := context.Cause(r.ctx)
	switch {
	case errors.Is(cause, jobs.ErrCancelled): // which wraps ErrLeaseLost
		tasktrace.End(r.span, string(jobs.StateCancelled), "")
	case errors.Is(cause, jobs.ErrLeaseLost):
		tasktrace.End(r.span, tasktrace.OutcomeLost, cause.Error())
	case r.abandoned():
		tasktrace.End(r.span, tasktrace.OutcomeReleased, "")
	case r.outcome.State == jobs.StateSuccess:
		tasktrace.End(r.span, string(jobs.StateSuccess), "")
	default:
		tasktrace.End(r.span, string(r.outcome.State), cmp.Or(r.outcome.Error, "failed"))
	}
}
