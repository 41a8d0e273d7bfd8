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

// roleWork is what the processes of a role do.
type roleWork func(context.Context, process, Application, config.Config, *slog.Logger) error

// part is a slot of a server in one process. Its figures are those of all its runs.
type part struct {
	name, role string
	work       roleWork
	app        Application
	listener   *net.TCPListener // of which each run has a copy; nil: it does not listen
	log        *slog.Logger
	lane       prefork.Counters
	tally      prefork.AppCounters

	booted   sync.Once // at the first run that is ready
	mu       sync.Mutex
	current  *partRun
	runs     []*partRun // that have not ended
	restarts int
	lastExit string
	past     []byte // the sum of the reports of runs that have ended
	state    prefork.State
	number   int
}

// partRun is the work of a part from its start to its end. It is the process that the work
// sees.
type partRun struct {
	*part
	number int
	stop   context.CancelFunc
	ready  chan struct{}
	once   sync.Once
	done   chan struct{}
	err    error // after done
	report []byte
	alone  bool
	visits *visits
}

// Slot is the part's name, as that of a slot.
func (r *partRun) Slot() string { return r.name }

// Owner is another one for each server, so that two with one task store do not take
// each other's leases for their own.
func (r *partRun) Owner() string { return fmt.Sprintf("%s/%s", instance, r.name) }

// instance tells this process from all others.
var instance = func() string {
	host, _ := os.Hostname() // without one the rest tells it too
	return fmt.Sprintf("%s-%d-%d", host, os.Getpid(), time.Now().UnixNano())
}()

// OnlyProcess reports whether no other run of the part was left when this one began.
func (r *partRun) OnlyProcess() bool { return r.alone }

// Counters holds the part's counts of connections and requests.
func (r *partRun) Counters() *prefork.Counters { return &r.lane }

// AppCounters holds the part's other counts.
func (r *partRun) AppCounters() *prefork.AppCounters { return &r.tally }

// Listener returns a copy of the part's socket, which is the run's to close.
func (r *partRun) Listener() (net.Listener, error) {
	if r.listener == nil {
		return nil, fmt.Errorf("%s has no listener", r.name)
	}
	file, err := r.listener.File()
	if err != nil {
		return nil, fmt.Errorf("copy the listener of %s: %w", r.name, err)
	}
	defer file.Close() //nolint:errcheck // the copy of the copy stays
	return net.FileListener(file)
}

// Ready says that the run does its work.
func (r *partRun) Ready() error {
	r.once.Do(func() { close(r.ready) })
	return nil
}

// Report keeps the latest figures of the run.
func (r *partRun) Report(text []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report = append([]byte(nil), text...)
	return nil
}

// MasterListener accepts the connections of those who want profiles.
func (r *partRun) MasterListener() net.Listener { return r.visits }

// start begins a run with a configuration.
func (p *part) start(ctx context.Context, c config.Config) *partRun {
	ctx, stop := context.WithCancel(ctx)
	p.mu.Lock()
	p.number++
	r := &partRun{part: p, number: p.number, stop: stop, ready: make(chan struct{}), done: make(chan struct{}), alone: len(p.runs) == 0, visits: newVisits()}
	p.runs = append(p.runs, r)
	p.mu.Unlock()
	go func() { // ends with the work, which ends with ctx
		defer close(r.done)
		r.err = pool.Protect(func() error { return p.work(ctx, r, p.app, c, p.log.With("slot", p.name, "run", r.number)) })
		_ = r.visits.Close()
		stop()
		p.ended(r)
	}()
	return r
}

// ended adds up what a run has counted.
func (p *part) ended(r *partRun) {
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

// become makes r what the part does now.
func (p *part) become(r *partRun, state prefork.State) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.current, p.state = r, state
}

// figures are the part's as those of a slot.
func (p *part) figures() prefork.SlotStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := prefork.SlotStats{SlotStatus: prefork.SlotStatus{
		Slot: p.name, Role: p.role, PID: os.Getpid(), State: p.state, Restarts: p.restarts, LastExit: p.lastExit,
		Connections: int(p.lane.Connections.Load()), RSS: residentMemory(),
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

// residentMemory is that of this process in bytes, or 0 where it cannot be read.
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

// visits is a listener for connections within this process.
type visits struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newVisits() *visits {
	return &visits{conns: make(chan net.Conn), closed: make(chan struct{})}
}

// Accept waits for a visitor.
func (v *visits) Accept() (net.Conn, error) {
	select {
	case c := <-v.conns:
		return c, nil
	case <-v.closed:
		return nil, net.ErrClosed
	}
}

// Close ends Accept.
func (v *visits) Close() error {
	v.once.Do(func() { close(v.closed) })
	return nil
}

// Addr means nothing.
func (v *visits) Addr() net.Addr { return &net.UnixAddr{Name: "visits", Net: "unix"} }

// dial connects to who accepts.
func (v *visits) dial(ctx context.Context) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case v.conns <- theirs:
		return ours, nil
	case <-v.closed:
		return nil, errors.Join(prefork.ErrNoProcess, ours.Close(), theirs.Close())
	case <-ctx.Done():
		return nil, errors.Join(context.Cause(ctx), ours.Close(), theirs.Close())
	}
}

// live reports whether the part's current run is ready.
func (p *part) live() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state == prefork.StateLive
}

// failed counts a run that ended by itself.
func (p *part) failed() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.restarts++
	p.current, p.state = nil, prefork.StateBackoff
}
