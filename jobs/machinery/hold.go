package machinery

import (
	"context"
	"errors"
	"time"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
	"github.com/galeserver/gale/jobs/meter"
)

// checkLeases calls check at the interval d until ctx ends, and ends the attempts whose
// leases are lost. check is Extend, the heartbeat, or Held, which detects cancelled tasks
// sooner.
func (w *Worker) checkLeases(ctx context.Context, d time.Duration, check func(context.Context, []*driver.Lease) ([]*driver.Lease, error)) {
	w.eachTick(ctx, d, func(runs []*run) {
		leases := make([]*driver.Lease, len(runs))
		byLease := make(map[*driver.Lease]*run, len(runs))
		for i, r := range runs {
			leases[i], byLease[r.lease] = r.lease, r
		}
		lost, err := check(ctx, leases)
		if err != nil && ctx.Err() == nil {
			w.log.Warn("cannot extend or check leases", "error", err, "tasks", len(leases))
		}
		for _, l := range lost {
			w.endLost(ctx, byLease[l])
		}
	})
}

// eachTick calls do at the interval d with the attempts under way, until ctx ends. While
// there are none, it sleeps.
func (w *Worker) eachTick(ctx context.Context, d time.Duration, do func([]*run)) {
	tick := time.NewTimer(d)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.engine.busy():
		}
		tick.Reset(d)
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

// endLost ends the context of an attempt whose lease is lost. The cause is
// jobs.ErrCancelled if the task was cancelled, else jobs.ErrLeaseLost. Only the first of
// several calls, which may be concurrent, ends and counts the attempt.
func (w *Worker) endLost(ctx context.Context, r *run) {
	if errors.Is(context.Cause(r.ctx), jobs.ErrLeaseLost) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, reportTimeout)
	defer cancel()
	t, err := w.store.Get(ctx, r.lease.Task.ID)
	if err == nil && t.Attempts == r.lease.Attempt {
		switch t.State {
		case jobs.StateCancelled:
			w.abort(r, jobs.ErrCancelled, meter.EventFailed)
			return
		case jobs.StateSuccess, jobs.StateFailed, jobs.StateRetrying:
			return // finish has stored the outcome of this attempt during the check
		}
	}
	w.abort(r, jobs.ErrLeaseLost, meter.EventLeaseLost)
}

func (w *Worker) abort(r *run, cause error, e meter.Event) {
	if r.aborted.CompareAndSwap(false, true) {
		r.cancel(cause)
		w.count(e, r.lease)
	}
}
