package jobs

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/RichardKnop/machinery/v2/tasks"

	"github.com/galeserver/gale/pool"
)

// Why a handler's context ends.
var (
	ErrTimeout  = errors.New("timed out")
	ErrShutdown = errors.New("worker is stopping")
)

// run is one attempt on its way through machinery.
type run struct {
	lease     *Lease
	handler   Handler
	job       *Job
	signature *tasks.Signature
	ctx       context.Context //nolint:containedctx // an attempt is its context
	cancel    context.CancelCauseFunc
	tasks     *Registry
	log       *slog.Logger  // for what the handler need not hear of
	overrun   time.Duration // how long the handler may ignore the end of ctx
	stuck     func()        // called if it does
	took      time.Duration // from its beginning until the handler had ended; 0 if it did not begin

	// outcome is gathered from what machinery tells broker and backend; its
	// State stays empty if the attempt did not come to an end of its own.
	outcome Outcome
}

// call does the handler's work and words its end for machinery: nil is a
// success, ErrRetryTaskLater another attempt, any other error the end.
func (r *run) call() (result string, err error) {
	ctx := r.ctx
	if limit := r.lease.Task.Timeout; limit > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeoutCause(ctx, limit, fmt.Errorf("%w after %v", ErrTimeout, limit))
		defer stop()
	}
	err = r.handle(ctx)
	if panicked, ok := errors.AsType[*pool.PanicError](err); ok {
		r.log.Error("task panicked", "panic", panicked.Value, "stack", string(panicked.Stack))
	}
	if err == nil {
		return string(r.job.result), nil
	}
	if errors.Is(context.Cause(ctx), ErrTimeout) && !errors.Is(err, ErrTimeout) {
		err = context.Cause(ctx) // whatever the handler made of it
	}
	r.outcome.Error = err.Error()
	if delay, again := r.retry(err); again {
		return "", tasks.NewErrRetryTaskLater(err.Error(), delay)
	}
	return "", err
}

// abandoned reports whether the attempt was taken from the handler before it
// ended: what it returned says nothing about the task.
func (r *run) abandoned() bool {
	cause := context.Cause(r.ctx)
	return r.outcome.State != StateSuccess && (errors.Is(cause, ErrShutdown) || errors.Is(cause, ErrLeaseLost))
}

// publishes takes a message that machinery sends while the task runs: the task
// itself once more is a retry, a callback is one of the tasks that follow. It
// reports whether the message is the run's.
func (r *run) publishes(s *tasks.Signature) (bool, error) {
	switch {
	case s == r.signature:
		r.outcome.State = StateRetrying
		r.outcome.RetryAt = *s.ETA
		return true, nil
	case slices.Contains(r.signature.OnSuccess, s):
		next, err := r.follower(s)
		if err == nil && !r.signature.Immutable {
			next.Args, err = withResult(next.Args, r.outcome.Result)
		}
		if err != nil {
			return true, err
		}
		r.outcome.Next = append(r.outcome.Next, next)
		return true, nil
	case slices.Contains(r.signature.OnError, s):
		next, err := r.follower(s)
		if err != nil {
			return true, err
		}
		r.outcome.Next = append(r.outcome.Next, next)
		return true, nil
	}
	return false, nil
}

// follower is a task that follows, with the options of its definition where the
// message has none. One that is not known here waits for a worker that does.
func (r *run) follower(s *tasks.Signature) (NewTask, error) {
	s.UUID = cmp.Or(s.UUID, NewID())
	n, err := newTask(s)
	if err != nil {
		return n, err
	}
	d, _ := r.tasks.Lookup(n.Name) // the zero Definition if it is unknown
	d.complete(&n)
	return n, nil
}

// withResult puts the result as the JSON it is where machinery appended it as
// a string.
func withResult(args, result json.RawMessage) (json.RawMessage, error) {
	var values []json.RawMessage
	if err := json.Unmarshal(args, &values); err != nil || len(values) == 0 {
		return nil, fmt.Errorf("pass result on: %w", ErrArgs)
	}
	if len(result) == 0 {
		result = json.RawMessage("null")
	}
	values[len(values)-1] = result
	return json.Marshal(values)
}
