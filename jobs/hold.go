package jobs

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// ErrCancelled is why the context of a handler ends whose task was cancelled. It
// wraps ErrLeaseLost: the task has come to its end, and nothing that the
// handler still says or returns is kept.
var ErrCancelled = fmt.Errorf("task was cancelled: %w", ErrLeaseLost)

// every asks again and again, until ctx ends, which of the attempts under way
// have lost their leases: by Extend, the heartbeat, and by Held, which finds
// those that were cancelled long before a heartbeat would.
func (w *Worker) every(ctx context.Context, d time.Duration, ask func(context.Context, []*Lease) ([]*Lease, error)) {
	w.tick(ctx, d, func(runs []*run) {
		leases := make([]*Lease, len(runs))
		byLease := make(map[*Lease]*run, len(runs))
		for i, r := range runs {
			leases[i], byLease[r.lease] = r.lease, r
		}
		lost, err := ask(ctx, leases)
		if err != nil && ctx.Err() == nil {
			w.log.Warn("cannot hold leases", "error", err, "tasks", len(leases))
		}
		for _, l := range lost {
			w.lost(ctx, byLease[l])
		}
	})
}

// tick calls do with the attempts under way, if there are any, until ctx ends.
func (w *Worker) tick(ctx context.Context, d time.Duration, do func([]*run)) {
	tick := time.NewTicker(d)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if runs := w.engine.running(); len(runs) > 0 {
			do(runs)
		}
	}
}

// lost tells an attempt, once, that its task is no longer its own, and whether
// it was cancelled.
func (w *Worker) lost(ctx context.Context, r *run) {
	if errors.Is(context.Cause(r.ctx), ErrLeaseLost) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, reportTimeout)
	defer cancel()
	t, err := w.store.Get(ctx, r.lease.Task.ID)
	if err == nil && t.Attempts == r.lease.Attempt {
		switch t.State {
		case StateCancelled:
			r.cancel(ErrCancelled)
			w.count(EventFailed, r.lease)
			return
		case StateSuccess, StateFailed, StateRetrying:
			return // its own outcome, written while the question was on its way
		}
	}
	r.cancel(ErrLeaseLost)
	w.count(EventLeaseLost, r.lease)
}
