package machinery

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/RichardKnop/machinery/v2/tasks"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
	"github.com/galeserver/gale/jobs/meter"
)

// How long the store is left alone after it failed, at first and at most.
const (
	retryStoreMin = 100 * time.Millisecond
	retryStoreMax = 5 * time.Second
)

// repeatTrouble is how often a worker writes to the log that it still cannot
// lease tasks.
const repeatTrouble = time.Minute

// reportTimeout bounds a report to the store that a handler waits for.
const reportTimeout = 5 * time.Second

// consume leases as many tasks as there are free places, never more, and runs
// them, until leasing ends and the last attempt with it.
func (w *Worker) consume(places int, process func(*tasks.Signature) error) {
	free := make(chan struct{}, places)
	for range places {
		free <- struct{}{}
	}
	delay, told := retryStoreMin, time.Time{}
	for w.leasing.Err() == nil {
		n := w.takePlaces(free)
		if n == 0 {
			break
		}
		leases, err := w.store.Lease(w.leasing, driver.LeaseRequest{
			Owner: w.opt.Owner, Queues: weighted(w.opt.Queues, w.opt.Weights), Names: w.tasks.Names(), Rates: w.tasks.Rates(), Max: n,
		})
		for range n - len(leases) {
			free <- struct{}{}
		}
		for _, l := range leases {
			w.attempts.Go(func() { // ends with the attempt
				if w.leasing.Err() != nil { // too late to begin
					w.giveBack(l)
					return
				}
				w.attempt(l, process)
				free <- struct{}{}
			})
		}
		if err == nil {
			delay = retryStoreMin
		} else if w.leasing.Err() == nil {
			if delay == retryStoreMin || time.Since(told) >= repeatTrouble {
				told = time.Now()
				w.log.Warn("cannot lease tasks, trying again and again", "error", err)
			}
			pause(w.leasing, delay)
			delay = min(2*delay, retryStoreMax)
		}
	}
	w.attempts.Wait()
}

// takePlaces waits for one free place and takes all that there are. It
// returns 0 when leasing ends.
func (w *Worker) takePlaces(free <-chan struct{}) (n int) {
	select {
	case <-w.leasing.Done():
		return 0
	case <-free:
	}
	for n = 1; ; n++ {
		select {
		case <-free:
		default:
			return n
		}
	}
}

// attempt runs a leased task and finishes it.
func (w *Worker) attempt(l *driver.Lease, process func(*tasks.Signature) error) {
	r, err := w.prepare(l)
	defer r.cancel(nil)
	if err != nil {
		r.outcome = driver.Outcome{State: jobs.StateDead, Error: "unreadable task: " + err.Error()}
		w.finish(r)
		return
	}
	w.engine.begin(r)
	defer w.engine.end(r)
	began := time.Now()
	r.log.Info("task started", "queue", l.Task.Queue)
	w.count(meter.EventStarted, l)
	err = process(r.signature)
	r.took = time.Since(began)
	switch {
	case errors.Is(context.Cause(r.ctx), jobs.ErrCancelled):
		r.log.Info("task cancelled", "took", time.Since(began).Round(time.Millisecond))
		return
	case errors.Is(context.Cause(r.ctx), jobs.ErrLeaseLost):
		r.log.Warn("task given up: its lease was lost")
		return
	case r.abandoned():
		w.keepLog(context.WithoutCancel(r.ctx), r)
		w.giveBack(r.lease)
		return
	case r.outcome.State == "":
		// machinery did not get as far as the handler, or broke behind it.
		r.outcome = driver.Outcome{State: jobs.StateFailed, Error: fmt.Sprintf("worker: %v", err)}
	}
	w.finish(r)
	r.log.Info("task ended", "state", r.outcome.State, "took", time.Since(began).Round(time.Millisecond), "error", r.outcome.Error)
}

// prepare makes a run of a lease.
func (w *Worker) prepare(l *driver.Lease) (*run, error) {
	r := &run{lease: l, overrun: w.opt.Overrun, stuck: w.recycle}
	r.log = w.log.With("task", l.Task.Name, "id", l.Task.ID, "attempt", l.Attempt)
	r.ctx, r.cancel = context.WithCancelCause(w.working)
	d, err := w.tasks.Lookup(l.Task.Name)
	if err != nil {
		return r, err
	}
	r.handler = d.Handler
	if r.next, err = w.tasks.Next(l.Task); err != nil {
		return r, err
	}
	// It has neither arguments nor callbacks nor retries: the handler takes its
	// arguments from its Job, and the run decides about the rest.
	r.signature = &tasks.Signature{UUID: l.Task.ID, Name: l.Task.Name, RoutingKey: l.Task.Queue}
	r.report = &report{
		id: l.Task.ID, attempt: l.Attempt, files: w.opt.Artifacts,
		write: func(percent int, note string) { w.progress(r, percent, note) },
	}
	r.job, err = d.Job(l.Task, l.Attempt, r.kept.logger(r.log), r.report)
	return r, err
}

// progress reports how far an attempt is; a handler whose lease is lost learns
// it here, from its context.
func (w *Worker) progress(r *run, percent int, note string) {
	ctx, cancel := context.WithTimeout(r.ctx, reportTimeout)
	defer cancel()
	err := w.store.Progress(ctx, r.lease, percent, note)
	if errors.Is(err, jobs.ErrLeaseLost) {
		w.lost(context.WithoutCancel(r.ctx), r)
	} else if err != nil {
		r.log.Debug("cannot record progress", "error", err)
	}
}

// finish hands the outcome to the store. The work is done, so a store that
// cannot take it now is asked again, while heartbeats keep the lease, until
// the worker is out of time.
func (w *Worker) finish(r *run) {
	if r.job != nil {
		r.outcome.Artifacts = r.report.made()
		w.keepLog(context.WithoutCancel(r.ctx), r)
		if said, ok := r.report.unsaid(); ok {
			w.progress(r, said.percent, said.note)
		}
	}
	for delay := retryStoreMin; ; delay = min(2*delay, retryStoreMax) {
		err := w.store.Finish(context.WithoutCancel(r.ctx), r.lease, r.outcome)
		switch {
		case err == nil:
			w.count(ends[r.outcome.State], r.lease)
			if r.took > 0 { // else it did not begin
				w.opt.Stopwatch.Took(ends[r.outcome.State], r.lease.Task.Name, r.took)
			}
			if w.opt.Artifacts != nil {
				w.opt.Artifacts.Clean(r.lease.Task.ID)
			}
			return
		case errors.Is(err, jobs.ErrLeaseLost), r.ctx.Err() != nil:
			if errors.Is(err, jobs.ErrLeaseLost) {
				w.lost(context.WithoutCancel(r.ctx), r)
			}
			w.log.Warn("outcome is not kept: the task was cancelled, or will run again", "task", r.lease.Task.Name, "id", r.lease.Task.ID, "error", err)
			return
		}
		w.log.Warn("cannot record the outcome of a task", "task", r.lease.Task.Name, "id", r.lease.Task.ID, "error", err, "retry_in", delay)
		pause(r.ctx, delay)
	}
}

// ends are the outcomes of attempts as they are counted.
var ends = map[jobs.State]meter.Event{
	jobs.StateSuccess: meter.EventSucceeded, jobs.StateFailed: meter.EventFailed, jobs.StateCancelled: meter.EventFailed, jobs.StateRetrying: meter.EventRetried, jobs.StateDead: meter.EventDead,
}

func (w *Worker) count(e meter.Event, l *driver.Lease) {
	w.opt.Meter.Count(e, l.Task.Name, l.Task.Queue)
}

// giveBack releases a task that the worker has no time for: the next may take
// it at once.
func (w *Worker) giveBack(l *driver.Lease) {
	log := w.log.With("task", l.Task.Name, "id", l.Task.ID, "attempt", l.Attempt)
	ctx, cancel := context.WithTimeout(context.Background(), reportTimeout)
	defer cancel()
	if err := w.store.Release(ctx, l); err != nil && !errors.Is(err, jobs.ErrLeaseLost) {
		log.Warn("cannot give the task back; its lease will expire", "error", err)
		return
	}
	log.Info("task given back")
}

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
