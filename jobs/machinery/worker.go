package machinery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/RichardKnop/machinery/v2"
	"github.com/RichardKnop/machinery/v2/config"
	locks "github.com/RichardKnop/machinery/v2/locks/eager"
	mlog "github.com/RichardKnop/machinery/v2/log"
	"go.opentelemetry.io/otel/trace"

	"github.com/galeserver/gale/internal/tasktrace"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/artifacts"
	"github.com/galeserver/gale/jobs/driver"
	"github.com/galeserver/gale/jobs/meter"
)

// Options configure a Worker. Owner is required; for all other fields the zero value is
// the documented default.
type Options struct {
	// Owner identifies the worker among all that use the store.
	Owner string
	// Successor is true if an earlier process with the same Owner is known to be dead. Then
	// its tasks are due at once. Otherwise they are due when their leases expire.
	Successor bool
	// Queues are the queues to serve, in order of priority. Default: jobs.DefaultQueue.
	Queues []string
	// Weights has one weight of at least 1 for each queue: the probability that a queue
	// is served first is proportional to its weight. Nil: strictly in the order of Queues.
	Weights []int
	// Concurrency is the number of tasks that run at the same time. Default: two per CPU.
	Concurrency int
	// Grace is the time for running tasks to finish after the ctx of Run has ended. After
	// that, the contexts of their handlers end. Tasks that still run one second later are
	// released for other workers. Default 28 s.
	Grace time.Duration
	// Heartbeat is the interval at which leases are extended. Default 10 s, a third of
	// driver.DefaultLeaseTTL.
	Heartbeat time.Duration
	// CancelPoll is the interval at which the worker checks whether its tasks were
	// cancelled. Default 500 ms.
	CancelPoll time.Duration
	// Overrun is the time in which a handler must return after its context has ended.
	// Otherwise the attempt fails with the cause of that context, the worker lets its
	// other tasks finish within Grace, and Run returns ErrStuck. Default 10 s.
	Overrun time.Duration
	// Artifacts stores the files of tasks. Nil: Job.Artifact returns an error.
	Artifacts artifacts.Files
	Meter     meter.Meter     // default NoMeter
	Stopwatch meter.Stopwatch // default NoMeter
	Logger    *slog.Logger    // default: no logging
	// TracerProvider makes a span for each attempt, which the context of the handler has. Log
	// records of an attempt are written with a context that has the span. Nil: no spans.
	TracerProvider trace.TracerProvider
}

// exitDelay is the time for handlers to return after the grace period.
const exitDelay = time.Second

// Worker leases tasks from a store and runs them with machinery's worker. Make one with
// New.
type Worker struct {
	store  driver.Store
	tasks  *jobs.Registry
	opt    Options
	log    *slog.Logger
	engine *engine
	server *machinery.Server

	leaseCtx    context.Context //nolint:containedctx // ends when the worker must lease no more tasks, see StopConsuming
	stopLeasing context.CancelCauseFunc
	workCtx     context.Context //nolint:containedctx // parent of the contexts of handlers; ends after the grace period
	stopWorking context.CancelCauseFunc
	attempts    sync.WaitGroup
	stuck       chan struct{} // closed by setStuck
	setStuck    func()        // makes Run return ErrStuck
}

// New makes a worker for the tasks of a registry. It starts nothing.
func New(store driver.Store, registry *jobs.Registry, o Options) (*Worker, error) {
	if o.Owner == "" {
		return nil, errors.New("machinery.Options: Owner is empty")
	}
	if len(o.Queues) == 0 {
		o.Queues = []string{jobs.DefaultQueue}
	}
	o.Concurrency = cmp.Or(o.Concurrency, 2*runtime.GOMAXPROCS(0))
	o.Grace = cmp.Or(o.Grace, 28*time.Second)
	o.Heartbeat = cmp.Or(o.Heartbeat, driver.DefaultLeaseTTL/3)
	o.CancelPoll = cmp.Or(o.CancelPoll, 500*time.Millisecond)
	o.Overrun = cmp.Or(o.Overrun, 10*time.Second)
	if err := checkWeights(o.Queues, o.Weights); err != nil {
		return nil, err
	}
	if o.Meter == nil {
		o.Meter = meter.NoMeter{}
	}
	if o.Stopwatch == nil {
		o.Stopwatch = meter.NoMeter{}
	}
	w := &Worker{store: store, tasks: registry, opt: o, log: cmp.Or(o.Logger, slog.New(slog.DiscardHandler))}
	w.stuck = make(chan struct{})
	w.setStuck = sync.OnceFunc(func() { close(w.stuck) })
	w.engine = &engine{
		worker: w, runs: map[string]*run{}, some: make(chan struct{}),
		config: &config.Config{DefaultQueue: jobs.DefaultQueue, NoUnixSignals: true},
	}
	w.leaseCtx, w.stopLeasing = context.WithCancelCause(context.Background())
	w.workCtx, w.stopWorking = context.WithCancelCause(context.Background())
	w.server = machinery.NewServer(w.engine.config, w.engine, w.engine, locks.New())
	for _, name := range registry.Names() {
		if err := w.server.RegisterTask(name, w.engine.invoke); err != nil {
			return nil, fmt.Errorf("register task %s: %w", name, err)
		}
	}
	return w, nil
}

// Run leases and runs tasks until ctx ends. Then it waits for running tasks up to
// Options.Grace, releases the tasks that still run, and returns nil. It may return while
// handlers are still running. If a handler does not return within Options.Overrun, Run
// stops in the same way before ctx ends and returns ErrStuck. Call it once.
func (w *Worker) Run(ctx context.Context) error {
	logMachinery(w.log)
	if w.opt.Successor {
		w.reclaim(ctx)
	}
	beatCtx, stopBeats := context.WithCancel(context.Background())
	var beats sync.WaitGroup
	beats.Go(func() { w.checkLeases(beatCtx, w.opt.Heartbeat, w.store.Extend) }) // ends with beatCtx
	beats.Go(func() { w.checkLeases(beatCtx, w.opt.CancelPoll, w.store.Held) })  // ends with beatCtx
	beats.Go(func() { w.flushLogs(beatCtx) })                                    // ends with beatCtx
	defer beats.Wait()
	defer stopBeats()

	worker := w.server.NewWorker(w.opt.Owner, w.opt.Concurrency)
	worker.SetErrorHandler(func(error) {}) // finish logs it
	ended := make(chan error, 1)
	worker.LaunchAsync(ended) // ends after worker.Quit
	for _, name := range w.tasks.Names() {
		if q := w.queueOf(name); q != "" && !slices.Contains(w.opt.Queues, q) {
			w.log.Info("worker does not serve the queue of a task", "task", name, "queue", q)
		}
	}
	w.log.Info("worker started", "queues", w.opt.Queues, "concurrency", w.opt.Concurrency, "tasks", w.tasks.Names())

	var stopped error
	select {
	case <-ctx.Done():
	case <-w.stuck:
		stopped = ErrStuck
	}
	worker.Quit()
	return errors.Join(stopped, w.drain(ended))
}

// queueOf returns Definition.Queue of a task.
func (w *Worker) queueOf(name string) string {
	d, _ := w.tasks.Lookup(name) // it is registered
	return d.Queue
}

// drain waits for running tasks, see Run.
func (w *Worker) drain(ended <-chan error) error {
	w.log.Info("worker stopping; waiting for running tasks", "running", len(w.engine.running()), "grace", w.opt.Grace)
	select {
	case err := <-ended:
		return err
	case <-time.After(w.opt.Grace):
		w.log.Warn("grace period is over; ending running tasks", "running", len(w.engine.running()))
	}
	w.stopWorking(jobs.ErrShutdown)
	select {
	case err := <-ended:
		return err
	case <-time.After(exitDelay):
		for _, r := range w.engine.running() {
			w.release(r.lease)
			tasktrace.End(r.span, tasktrace.OutcomeReleased, "")
		}
		return nil
	}
}

// reclaim ends the leases of the dead process that had the same owner. If the store is
// unavailable, these leases expire by themselves.
func (w *Worker) reclaim(ctx context.Context) {
	n, err := w.store.Reclaim(ctx, w.opt.Owner)
	if err != nil {
		w.log.Warn("cannot requeue the tasks of the previous process; they are due when their leases expire", "error", err)
	} else if n > 0 {
		w.log.Info("tasks of the previous process are due again", "tasks", n)
	}
}

// machineryLog guards machinery's loggers, which are global and are set only once.
var machineryLog sync.Once

// logMachinery redirects machinery's log to log. machinery's levels debug, info and warning
// become debug.
func logMachinery(log *slog.Logger) {
	machineryLog.Do(func() {
		debug := slog.NewLogLogger(log.Handler(), slog.LevelDebug)
		mlog.SetDebug(debug)
		mlog.SetInfo(debug)
		mlog.SetWarning(debug)
		mlog.SetError(slog.NewLogLogger(log.Handler(), slog.LevelError))
		mlog.SetFatal(slog.NewLogLogger(log.Handler(), slog.LevelError))
	})
}
