package machinery

import (
	"context"
	"errors"
	"time"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
	"github.com/galeserver/gale/jobs/meter"
)

// every asks again and again, until ctx ends, which of the attempts under way
// have lost their leases: by Extend, the heartbeat, and by Held, which finds
// those that were cancelled long before a heartbeat would.
func (w *Worker) every(ctx context.Context, d time.Duration, ask func(context.Context, []*driver.Lease) ([]*driver.Lease, error)) {
	w.tick(ctx, d, func(runs []*run) {
		leases := make([]*driver.Lease, len(runs))
		byLease := make(map[*driver.Lease]*run, len(runs))
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
	if errors.Is(context.Cause(r.ctx), jobs.ErrLeaseLost) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, reportTimeout)
	defer cancel()
	t, err := w.store.Get(ctx, r.lease.Task.ID)
	if err == nil && t.Attempts == r.lease.Attempt {
		switch t.State {
		case jobs.StateCancelled:
			r.cancel(jobs.ErrCancelled)
			w.count(meter.EventFailed, r.lease)
			return
		case jobs.StateSuccess, jobs.StateFailed, jobs.StateRetrying:
			return // its own outcome, written while the question was on its way
		}
	}
	r.cancel(jobs.ErrLeaseLost)
	w.count(meter.EventLeaseLost, r.lease)
}
