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

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/artifacts"
	"github.com/galeserver/gale/jobs/driver"
	"github.com/galeserver/gale/jobs/meter"
)

// Options configure a Worker. The zero value of a field is its default,
// except Owner, which must be given.
type Options struct {
	// Owner names the worker among all that share the store.
	Owner string
	// Successor says that an earlier process had the same owner and is dead:
	// its tasks are taken over at once instead of when their leases expire.
	Successor bool
	// Queues to take from. Default: DefaultQueue.
	Queues []string
	// Weights of the queues, one for each: how often one of them comes before
	// the others. None: in their order, strictly.
	Weights []int
	// Concurrency is how many tasks run at once. Default: two per CPU.
	Concurrency int
	// Grace is how long tasks may go on after ctx has ended; then theirs
	// ends, and a second later they are given back. Default 28 s.
	Grace time.Duration
	// Heartbeat is how often leases are extended. Default 10 s, a third of
	// DefaultLeaseTTL.
	Heartbeat time.Duration
	// Look is how often the worker looks whether its tasks were cancelled.
	// Default 500 ms.
	Look time.Duration
	// Overrun is for how long a handler may go on after its context has ended.
	// Then its attempt is over, with the end of its time as the reason, and the
	// worker with it: it lets the others finish within Grace, and Run returns
	// ErrStuck. Default 10 s.
	Overrun time.Duration
	// Artifacts is where tasks leave files. Default: nowhere.
	Artifacts *artifacts.Folder
	Meter     meter.Meter     // default NoMeter
	Stopwatch meter.Stopwatch // default NoMeter
	Logger    *slog.Logger    // default: none
}

// lastWords is how long a handler has to notice that its context has ended
// with the grace time.
const lastWords = time.Second

// Worker leases tasks from a store and runs them on machinery's worker.
type Worker struct {
	store  driver.Store
	tasks  *jobs.Registry
	opt    Options
	log    *slog.Logger
	engine *engine
	server *machinery.Server

	leasing     context.Context //nolint:containedctx // ends leasing, by the broker's StopConsuming
	stopLeasing context.CancelCauseFunc
	working     context.Context //nolint:containedctx // ends what handlers do, when the grace time is over
	stopWorking context.CancelCauseFunc
	attempts    sync.WaitGroup
	recycled    chan struct{} // closed by recycle
	recycle     func()        // ends Run with ErrStuck
}

// New makes a worker for the tasks of a registry.
func New(store driver.Store, registry *jobs.Registry, o Options) (*Worker, error) {
	if o.Owner == "" {
		return nil, errors.New("worker has no owner")
	}
	if len(o.Queues) == 0 {
		o.Queues = []string{jobs.DefaultQueue}
	}
	o.Concurrency = cmp.Or(o.Concurrency, 2*runtime.GOMAXPROCS(0))
	o.Grace = cmp.Or(o.Grace, 28*time.Second)
	o.Heartbeat = cmp.Or(o.Heartbeat, driver.DefaultLeaseTTL/3)
	o.Look = cmp.Or(o.Look, 500*time.Millisecond)
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
	w.recycled = make(chan struct{})
	w.recycle = sync.OnceFunc(func() { close(w.recycled) })
	w.engine = &engine{
		worker: w, runs: map[string]*run{},
		config: &config.Config{DefaultQueue: jobs.DefaultQueue, NoUnixSignals: true},
	}
	w.leasing, w.stopLeasing = context.WithCancelCause(context.Background())
	w.working, w.stopWorking = context.WithCancelCause(context.Background())
	w.server = machinery.NewServer(w.engine.config, w.engine, w.engine, locks.New())
	for _, name := range registry.Names() {
		if err := w.server.RegisterTask(name, w.engine.invoke); err != nil {
			return nil, fmt.Errorf("register task %s: %w", name, err)
		}
	}
	return w, nil
}

// Run takes tasks and works until ctx ends, then lets those under way finish
// within the grace time and gives the rest back. It returns nil, also when it
// had to leave handlers behind then that would not stop; ErrStuck if one would
// not before. Call it once.
func (w *Worker) Run(ctx context.Context) error {
	logMachinery(w.log)
	if w.opt.Successor {
		w.reclaim(ctx)
	}
	alive, dead := context.WithCancel(context.Background())
	var beats sync.WaitGroup
	beats.Go(func() { w.every(alive, w.opt.Heartbeat, w.store.Extend) }) // ends with alive
	beats.Go(func() { w.every(alive, w.opt.Look, w.store.Held) })        // ends with alive
	beats.Go(func() { w.keepLogs(alive) })                               // ends with alive
	defer beats.Wait()
	defer dead()

	worker := w.server.NewWorker(w.opt.Owner, w.opt.Concurrency)
	worker.SetErrorHandler(func(error) {}) // finish has a line for it
	ended := make(chan error, 1)
	worker.LaunchAsync(ended) // ends after worker.Quit
	for _, name := range w.tasks.Names() {
		if q := w.queueOf(name); q != "" && !slices.Contains(w.opt.Queues, q) {
			w.log.Info("task waits in a queue that this worker does not take from", "task", name, "queue", q)
		}
	}
	w.log.Info("worker takes tasks", "queues", w.opt.Queues, "concurrency", w.opt.Concurrency, "tasks", w.tasks.Names())

	var why error
	select {
	case <-ctx.Done():
	case <-w.recycled:
		why = ErrStuck
	}
	worker.Quit()
	return errors.Join(why, w.drain(ended))
}

// queueOf is the queue that the definition of a task names, or empty.
func (w *Worker) queueOf(name string) string {
	d, _ := w.tasks.Lookup(name) // it is registered
	return d.Queue
}

// drain lets what is under way end.
func (w *Worker) drain(ended <-chan error) error {
	w.log.Info("worker takes no more tasks", "running", len(w.engine.running()), "grace", w.opt.Grace)
	select {
	case err := <-ended:
		return err
	case <-time.After(w.opt.Grace):
		w.log.Warn("grace time is over", "running", len(w.engine.running()))
	}
	w.stopWorking(jobs.ErrShutdown)
	select {
	case err := <-ended:
		return err
	case <-time.After(lastWords):
		for _, r := range w.engine.running() {
			w.giveBack(r.lease)
		}
		return nil
	}
}

// reclaim takes over what a dead process with this worker's name had leased.
// If the store cannot do it now, the leases expire by themselves.
func (w *Worker) reclaim(ctx context.Context) {
	n, err := w.store.Reclaim(ctx, w.opt.Owner)
	if err != nil {
		w.log.Warn("cannot take over the tasks of the last process", "error", err)
	} else if n > 0 {
		w.log.Info("tasks of the last process are due again", "tasks", n)
	}
}

// machineryLog makes sure that machinery's loggers, which are global, are set
// by one worker only.
var machineryLog sync.Once

// logMachinery sends what machinery logs to the program's log. Its lines for
// every task and setting are for debugging only.
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
