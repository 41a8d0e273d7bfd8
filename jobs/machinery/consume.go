package machinery

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/RichardKnop/machinery/v2/tasks"

	"github.com/galeserver/gale/internal/sleep"
	"github.com/galeserver/gale/internal/tasktrace"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
	"github.com/galeserver/gale/jobs/meter"
)

// Smallest and largest backoff after an error of the store.
const (
	minBackoff = 100 * time.Millisecond
	maxBackoff = 5 * time.Second
)

// warnInterval is the shortest time between two log messages of a worker that it cannot
// lease tasks, while the error persists.
const warnInterval = time.Minute

// reportTimeout is the time limit of store calls during which a handler or a shutdown waits.
const reportTimeout = 5 * time.Second

// consume leases tasks for the free places and runs them. It returns when leaseCtx has ended
// and the last attempt is finished.
//
// One call of Lease fills at most half of the places. So the store leases and finishes tasks
// of one half while those of the other half run. If a call filled all places, the store and
// this process would wait for each other.
func (w *Worker) consume(places int, process func(*tasks.Signature) error) {
	free, leased := make(chan struct{}, places), make(chan *driver.Lease, places)
	for range places {
		free <- struct{}{}
		w.attempts.Go(func() { // ends when leased is closed
			for l := range leased {
				w.runOrRelease(l, process)
				free <- struct{}{}
			}
		})
	}
	delay, lastWarning := minBackoff, time.Time{}
	for w.leaseCtx.Err() == nil {
		n := w.acquirePlaces(free, (places+1)/2)
		if n == 0 {
			break
		}
		leases, err := w.store.Lease(w.leaseCtx, driver.LeaseRequest{
			Owner: w.opt.Owner, Queues: weighted(w.opt.Queues, w.opt.Weights), Names: w.tasks.Names(), Rates: w.tasks.Rates(), Max: n,
		})
		for range n - len(leases) {
			free <- struct{}{}
		}
		for _, l := range leases {
			leased <- l // has room: each lease has a place
		}
		if err == nil {
			delay = minBackoff
		} else if w.leaseCtx.Err() == nil {
			if delay == minBackoff || time.Since(lastWarning) >= warnInterval {
				lastWarning = time.Now()
				w.log.Warn("cannot lease tasks; retrying with backoff", "error", err)
			}
			sleep.For(w.leaseCtx, delay)
			delay = min(2*delay, maxBackoff)
		}
	}
	close(leased)
	w.attempts.Wait()
}

// runOrRelease runs a leased task, or releases it if the worker is stopping.
func (w *Worker) runOrRelease(l *driver.Lease, process func(*tasks.Signature) error) {
	if w.leaseCtx.Err() != nil {
		w.release(l)
		return
	}
	w.attempt(l, process)
}

// acquirePlaces waits for a free place and takes the free ones, at most as many as given. It
// returns 0 when leaseCtx ends.
func (w *Worker) acquirePlaces(free <-chan struct{}, most int) (n int) {
	select {
	case <-w.leaseCtx.Done():
		return 0
	case <-free:
	}
	runtime.Gosched() // the outcomes of several tasks arrive together, so more places may become free now
	for n = 1; n < most; n++ {
		select {
		case <-free:
		default:
			return n
		}
	}
	return n
}

// attempt runs a leased task and stores its outcome.
func (w *Worker) attempt(l *driver.Lease, process func(*tasks.Signature) error) {
	r, err := w.prepare(l)
	defer r.cancel(nil)
	defer r.endSpan()
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
	r.report.end()
	switch {
	case errors.Is(context.Cause(r.ctx), jobs.ErrCancelled):
		r.log.Info("task cancelled", "took", time.Since(began).Round(time.Millisecond))
		return
	case errors.Is(context.Cause(r.ctx), jobs.ErrLeaseLost):
		r.log.Warn("attempt dropped: its lease was lost")
		return
	case r.abandoned():
		w.flushLog(context.WithoutCancel(r.ctx), r)
		w.release(r.lease)
		return
	case r.outcome.State == "":
		// machinery itself failed, before or after it called the handler.
		r.outcome = driver.Outcome{State: jobs.StateFailed, Error: fmt.Sprintf("worker: %v", err)}
	}
	w.finish(r)
	r.log.Info("task ended", "state", r.outcome.State, "took", time.Since(began).Round(time.Millisecond), "error", r.outcome.Error)
}

// prepare makes the run of a lease.
func (w *Worker) prepare(l *driver.Lease) (*run, error) {
	r := &run{lease: l, overrun: w.opt.Overrun, stuck: w.setStuck}
	r.ctx, r.cancel = context.WithCancelCause(w.workCtx)
	r.ctx, r.span = tasktrace.Start(r.ctx, w.opt.TracerProvider, l.Task)
	r.log = tasktrace.Logger(r.ctx, w.log).With("task", l.Task.Name, "id", l.Task.ID, "attempt", l.Attempt)
	d, err := w.tasks.Lookup(l.Task.Name)
	if err != nil {
		return r, err
	}
	r.handler = d.Handler
	if r.next, err = w.tasks.Next(l.Task); err != nil {
		return r, err
	}
	// The signature has no arguments, callbacks or retries: the handler reads its
	// arguments from the Job, and the run does the rest.
	r.signature = &tasks.Signature{UUID: l.Task.ID, Name: l.Task.Name, RoutingKey: l.Task.Queue}
	r.report = &report{
		id: l.Task.ID, attempt: l.Attempt, ctx: r.ctx, files: w.opt.Artifacts,
		write: func(percent int, note string) { w.progress(r, percent, note) },
	}
	r.job, err = d.Job(l.Task, l.Attempt, r.taskLog.logger(r.log), r.report)
	return r, err
}

// progress stores the progress of an attempt. If the lease is lost, it ends the context
// of the handler.
func (w *Worker) progress(r *run, percent int, note string) {
	ctx, cancel := context.WithTimeout(r.ctx, reportTimeout)
	defer cancel()
	err := w.store.Progress(ctx, r.lease, percent, note)
	if errors.Is(err, jobs.ErrLeaseLost) {
		w.endLost(context.WithoutCancel(r.ctx), r)
	} else if err != nil {
		r.log.Debug("cannot record progress", "error", err)
	}
}

// finish stores the outcome. If the store is unavailable, it retries until the grace period
// of the worker is over, because the work is already done. Heartbeats extend the lease
// meanwhile.
func (w *Worker) finish(r *run) {
	if r.job != nil {
		r.outcome.Artifacts = r.report.names()
		w.flushLog(context.WithoutCancel(r.ctx), r)
		if p, ok := r.report.pending(); ok {
			w.progress(r, p.percent, p.note)
		}
	}
	tasktrace.Follow(r.ctx, &r.outcome)
	for delay := minBackoff; ; delay = min(2*delay, maxBackoff) {
		err := w.store.Finish(context.WithoutCancel(r.ctx), r.lease, r.outcome)
		switch {
		case err == nil:
			w.count(driver.EventOf(r.outcome.State), r.lease)
			if r.took > 0 { // 0: the handler did not start
				w.opt.Stopwatch.Took(driver.EventOf(r.outcome.State), r.lease.Task.Name, r.took)
			}
			if w.opt.Artifacts != nil {
				w.opt.Artifacts.Clean(r.lease.Task.ID)
			}
			return
		case errors.Is(err, jobs.ErrLeaseLost), r.ctx.Err() != nil:
			if errors.Is(err, jobs.ErrLeaseLost) {
				w.endLost(context.WithoutCancel(r.ctx), r)
			}
			w.log.Warn("result of the attempt dropped: the task was cancelled or goes to another worker", "task", r.lease.Task.Name, "id", r.lease.Task.ID, "error", err)
			return
		}
		w.log.Warn("cannot store the result of a task; retrying", "task", r.lease.Task.Name, "id", r.lease.Task.ID, "error", err, "retry_in", delay)
		sleep.For(r.ctx, delay)
	}
}

func (w *Worker) count(e meter.Event, l *driver.Lease) {
	w.opt.Meter.Count(e, l.Task.Name, l.Task.Queue)
}

// release releases a task that the worker cannot finish before it stops, so that another
// worker can lease it at once.
func (w *Worker) release(l *driver.Lease) {
	log := w.log.With("task", l.Task.Name, "id", l.Task.ID, "attempt", l.Attempt)
	ctx, cancel := context.WithTimeout(context.Background(), reportTimeout)
	defer cancel()
	if err := w.store.Release(ctx, l); err != nil && !errors.Is(err, jobs.ErrLeaseLost) {
		log.Warn("cannot release the task; it is due again when its lease expires", "error", err)
		return
	}
	log.Info("task released for another worker")
}
