package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"github.com/galeserver/gale/app/internal/config"
	"github.com/galeserver/gale/app/internal/metrics"
	"github.com/galeserver/gale/pool"
	"github.com/galeserver/gale/prefork"
)

// roleWork is the function that runs a slot of a role until ctx is done.
type roleWork func(context.Context, process, Application, config.Config, *slog.Logger) error

// part is a slot of a server in one process (-single). It takes the place of a child
// process: its work runs in a goroutine and can be started again. Its figures add up
// those of all its runs.
type part struct {
	name, role string
	optional   bool // the server is ready without it
	work       roleWork
	app        Application
	listener   *net.TCPListener // copied for each run; nil if the part does not listen
	log        *slog.Logger
	lane       prefork.Counters
	tally      prefork.AppCounters

	booted   sync.Once // done when a run is ready for the first time
	mu       sync.Mutex
	current  *partRun
	runs     []*partRun // runs that have not ended, the current one and those that drain
	restarts int
	lastExit string
	past     []byte // merged reports of the runs that have ended
	state    prefork.State
	number   int // number of runs that were started
}

// partRun is one run of a part, from its start to its end. It implements process.
type partRun struct {
	*part
	number   int
	stop     context.CancelFunc
	ready    chan struct{} // closed when the run is ready
	once     sync.Once     // closes ready
	done     chan struct{} // closed when the run has ended
	err      error         // error of the run; valid after done is closed
	report   []byte        // latest metrics of the run
	alone    bool
	profiles *pipeListener
}

// Slot returns the name of the part.
func (r *partRun) Slot() string { return r.name }

// Owner is unique to this process and part: two servers on one task store must not
// take over each other's leases.
func (r *partRun) Owner() string { return fmt.Sprintf("%s/%s", instance, r.name) }

// instance identifies this process among all processes and machines.
var instance = func() string {
	host, _ := os.Hostname() // pid and time are enough without it
	return fmt.Sprintf("%s-%d-%d", host, os.Getpid(), time.Now().UnixNano())
}()

// OnlyProcess reports whether all earlier runs of the part had ended when this one started.
func (r *partRun) OnlyProcess() bool { return r.alone }

// Counters holds the part's counts of connections and requests.
func (r *partRun) Counters() *prefork.Counters { return &r.lane }

// AppCounters holds the part's other counts.
func (r *partRun) AppCounters() *prefork.AppCounters { return &r.tally }

// Listener returns a copy of the part's listener. The run closes it.
func (r *partRun) Listener() (net.Listener, error) {
	if r.listener == nil {
		return nil, fmt.Errorf("%s has no listener", r.name)
	}
	file, err := r.listener.File()
	if err != nil {
		return nil, fmt.Errorf("copy the listener of %s: %w", r.name, err)
	}
	defer file.Close() //nolint:errcheck // FileListener makes another copy
	return net.FileListener(file)
}

// Ready marks the run as ready.
func (r *partRun) Ready() error {
	r.once.Do(func() { close(r.ready) })
	return nil
}

// Report stores the latest metrics of the run.
func (r *partRun) Report(text []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report = append([]byte(nil), text...)
	return nil
}

// MasterListener returns the listener on which the run serves its profiles.
func (r *partRun) MasterListener() net.Listener { return r.profiles }

// start starts a run with a configuration.
func (p *part) start(ctx context.Context, c config.Config) *partRun {
	ctx, stop := context.WithCancel(ctx)
	p.mu.Lock()
	p.number++
	r := &partRun{part: p, number: p.number, stop: stop, ready: make(chan struct{}), done: make(chan struct{}), alone: len(p.runs) == 0, profiles: newPipeListener()}
	p.runs = append(p.runs, r)
	p.mu.Unlock()
	go func() { // ends with the work, which ends with ctx
		defer close(r.done)
		r.err = pool.Protect(func() error { return p.work(ctx, r, p.app, c, p.log.With("slot", p.name, "run", r.number)) })
		_ = r.profiles.Close()
		stop()
		p.removeRun(r)
	}()
	return r
}

// removeRun removes a run that has ended, and merges its metrics into those of the part.
func (p *part) removeRun(r *partRun) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, other := range p.runs {
		if other == r {
			p.runs = append(p.runs[:i:i], p.runs[i+1:]...)
			break
		}
	}
	if len(r.report) > 0 {
		p.past = metrics.Merge(p.past, r.report)
	}
	p.lastExit = "ended"
	if r.err != nil {
		p.lastExit = r.err.Error()
	}
}

// setCurrent sets the current run, which may be nil, and the state of the part.
func (p *part) setCurrent(r *partRun, state prefork.State) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.current, p.state = r, state
}

// figures returns the status and metrics of the part in the form of a slot's.
func (p *part) figures() prefork.SlotStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := prefork.SlotStats{SlotStatus: prefork.SlotStatus{
		Slot: p.name, Role: p.role, PID: os.Getpid(), State: p.state, Restarts: p.restarts, LastExit: p.lastExit,
		Connections: int(p.lane.Connections.Load()), RSS: residentMemory() + p.lane.ProgramMemory.Load(),
	}, MergedReport: p.past}
	if p.current != nil {
		f.Generation = p.current.number
	}
	f.AppCounters = make([]int64, prefork.NumAppCounters)
	for i := range f.AppCounters {
		f.AppCounters[i] = p.tally[i].Load()
	}
	for _, r := range p.runs {
		if len(r.report) > 0 {
			f.Reports = append(f.Reports, r.report)
		}
	}
	return f
}

// residentMemory returns the resident memory of this process in bytes (proc(5), statm),
// or 0 if it cannot be read.
func residentMemory() int64 {
	text, err := os.ReadFile("/proc/self/statm")
	var size, resident int64
	if err == nil {
		_, err = fmt.Sscan(string(text), &size, &resident)
	}
	if err != nil {
		return 0
	}
	return resident * int64(os.Getpagesize())
}

// pipeListener is a net.Listener for connections within this process (net.Pipe).
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once // closes closed
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
}

// Accept implements net.Listener.
func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr returns an address for log messages only.
func (*pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

// dial connects to the listener. After Close it fails with prefork.ErrNoProcess.
func (l *pipeListener) dial(ctx context.Context) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case l.conns <- server:
		return client, nil
	case <-l.closed:
		return nil, errors.Join(prefork.ErrNoProcess, client.Close(), server.Close())
	case <-ctx.Done():
		return nil, errors.Join(context.Cause(ctx), client.Close(), server.Close())
	}
}

// live reports whether the part's current run is ready.
func (p *part) live() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state == prefork.StateLive
}

// countFailure records that the current run ended without being stopped.
func (p *part) countFailure() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.restarts++
	p.current, p.state = nil, prefork.StateBackoff
}
