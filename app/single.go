package app

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/galeserver/gale/app/internal/config"
	"github.com/galeserver/gale/internal/redisdb"
	"github.com/galeserver/gale/internal/stateserver"
	"github.com/galeserver/gale/prefork"
)

// restartMin and restartMax bound the pause before a part that has failed begins again.
const (
	restartMin = 100 * time.Millisecond
	restartMax = 5 * time.Second
)

// errTwice is the end of a server that was told to end a second time.
var errTwice = errors.New("ended at once: a second signal came")

// single is a server in one process: what its master and children do is done by
// goroutines. A crash of the process takes all of it down.
type single struct {
	env   env
	log   *slog.Logger
	store *part   // the embedded state server; nil with -redis
	parts []*part // that use it

	booting atomic.Int64   // parts that have not been ready yet
	leaving sync.WaitGroup // runs that were replaced

	mu      sync.Mutex
	config  config.Config
	reloads int
	refused int
	failure string // why the last reload changed nothing; empty if it succeeded
}

// runSingle serves until ctx ends or a signal comes.
func runSingle(ctx context.Context, e env, c config.Config) error {
	log := newLogger(c, e.stderr)
	redisdb.SetLogger(log)
	if c.Redis == "" {
		place, err := stateserver.Reserve("")
		if err != nil {
			return err
		}
		defer place.Release() //nolint:errcheck // the server ends with it
		c.Store = config.Store{Address: place.Addr, Password: rand.Text()}
		c.Redis = "redis://:" + c.Store.Password + "@" + c.Store.Address
	}
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", c.Address())
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	defer ln.Close() //nolint:errcheck // nothing waits for it
	if err := c.MayListen(ln.Addr()); err != nil {
		return err
	}
	s := newSingle(e, c, ln.(*net.TCPListener), log)
	admin, err := listenAdmin(ctx, c, s, version(e.app), log)
	if err != nil {
		return err
	}
	var others errgroup.Group
	others.Go(admin.serve) // ends with admin.close
	log.Info("listening", "addr", ln.Addr().String(), "url", c.Scheme()+"://"+ln.Addr().String(), "serve_slots", 1, "worker_slots", c.Workers)
	err = s.run(ctx)
	admin.close()
	return errors.Join(err, others.Wait())
}

func newSingle(e env, c config.Config, ln *net.TCPListener, log *slog.Logger) *single {
	s := &single{env: e, config: c, log: log}
	add := func(role string, number int, work roleWork, ln *net.TCPListener) *part {
		return &part{name: fmt.Sprintf("%s.%d", role, number), role: role, work: work, app: e.app, listener: ln, log: log, state: prefork.StateBooting}
	}
	if c.Store.Address != "" {
		s.store = add(roleStore, 0, keepStore, nil)
	}
	s.parts = append(s.parts, add(roleServe, 0, serve, ln))
	for n := range c.Workers {
		s.parts = append(s.parts, add(roleWorker, n, work, nil))
	}
	s.booting.Store(int64(len(s.all())))
	return s
}

// run runs the parts until ctx ends or TERM or INT comes; HUP starts them again with
// the configuration as it is then. The embedded state server is the last to end.
func (s *single) run(ctx context.Context) error {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer signal.Stop(signals)

	using, stopUsing := context.WithCancel(ctx)
	defer stopUsing()
	storing, stopStoring := context.WithCancel(context.WithoutCancel(ctx))
	defer stopStoring()
	var store, users sync.WaitGroup
	changes := make([]chan config.Config, len(s.parts))
	if s.store != nil {
		store.Go(func() { s.keep(storing, s.store, nil) }) // ends with storing
	}
	for i, p := range s.parts {
		changes[i] = make(chan config.Config, 1)
		users.Go(func() { s.keep(using, p, changes[i]) }) // ends with using
	}
	for done := false; !done; {
		select {
		case <-ctx.Done():
			done = true
		case got := <-signals:
			if done = got != syscall.SIGHUP; !done {
				s.reload(changes)
			} else {
				s.log.Info("stopping", "reason", got.String(), "grace", s.settings().Grace)
			}
		}
	}
	stopUsing()
	ended := make(chan struct{})
	go func() { // ends with the parts
		users.Wait()
		s.leaving.Wait()
		stopStoring()
		store.Wait()
		close(ended)
	}()
	for {
		select {
		case <-ended:
			s.log.Info("stopped")
			return nil
		case got := <-signals:
			if got != syscall.SIGHUP {
				return errTwice
			}
		}
	}
}

// keep has a part at work until ctx ends: it begins again when it has failed, after a
// pause that grows, and with each configuration of changes: the new run is ready before
// the old one stops.
func (s *single) keep(ctx context.Context, p *part, changes <-chan config.Config) {
	work := context.WithoutCancel(ctx) // runs are stopped one by one
	current := p.start(work, s.settings())
	p.become(current, prefork.StateBooting)
	pause := restartMin
	for {
		ready := current.ready
		if p.live() {
			ready = nil
		}
		select {
		case <-ready:
			s.goLive(p, current)
			s.log.Info("part ready", "slot", p.name, "run", current.number)
		case c := <-changes:
			current = s.replace(ctx, p, current, c)
		case <-ctx.Done():
			p.become(current, prefork.StateLeaving)
			s.end(current)
			p.become(nil, prefork.StateStopped)
			return
		case <-current.done:
			s.log.Error("part failed", "slot", p.name, "run", current.number, "error", current.err, "restart_in", pause)
			p.failed()
			if !wait(ctx, pause) {
				p.become(nil, prefork.StateStopped)
				return
			}
			pause = min(2*pause, restartMax)
			current = p.start(work, s.settings())
			p.become(current, prefork.StateBooting)
		}
	}
}

// goLive notes that a run is ready, and says when all parts are for the first time.
func (s *single) goLive(p *part, r *partRun) {
	p.become(r, prefork.StateLive)
	p.booted.Do(func() {
		if s.booting.Add(-1) == 0 {
			s.log.Info("ready", "slots", len(s.all()))
		}
	})
}

// replace returns the run that a part goes on with: a new one with c, or the old one if
// the new one does not become ready within -boot-timeout.
func (s *single) replace(ctx context.Context, p *part, old *partRun, c config.Config) *partRun {
	next := p.start(context.WithoutCancel(ctx), c)
	timer := time.NewTimer(c.BootTimeout)
	defer timer.Stop()
	select {
	case <-next.ready:
		s.goLive(p, next)
		s.log.Info("part replaced", "slot", p.name, "run", next.number)
		s.leaving.Go(func() { s.end(old) }) // ends when the run has put away its work
		return next
	case <-next.done:
		s.log.Error("part not replaced", "slot", p.name, "error", next.err)
	case <-timer.C:
		next.stop()
		s.log.Error("part not replaced", "slot", p.name, "error", "not ready within "+c.BootTimeout.String())
	case <-ctx.Done():
		next.stop()
	}
	return old
}

// end stops a run and waits for it, not much longer than the grace time.
func (s *single) end(r *partRun) {
	r.stop()
	timer := time.NewTimer(s.settings().Grace + 2*time.Second)
	defer timer.Stop()
	select {
	case <-r.done:
		if r.err != nil {
			s.log.Warn("part ended", "slot", r.name, "run", r.number, "error", r.err)
		}
	case <-timer.C:
		s.log.Error("part still running after its grace time", "slot", r.name, "run", r.number)
	}
}

// reload reads the configuration again and hands it to the parts. What is wrong with it
// changes nothing.
func (s *single) reload(changes []chan config.Config) {
	was := s.settings()
	e := s.env
	e.program = e.program.Frozen() // handlers are using the values of its flags
	c, err := configure(config.Serve, e)
	switch {
	case err != nil:
	case !slices.Equal(c.Own, was.Own):
		err = fmt.Errorf("the flags of %s need a new process", e.app.command())
	case c.Address() != was.Address() || c.Admin != was.Admin || c.Workers != was.Workers || !c.Single:
		err = errors.New("-host, -port, -admin, -workers and -single need a new process")
	}
	s.mu.Lock()
	if s.failure = ""; err != nil {
		s.failure = err.Error()
		s.refused++
	}
	s.mu.Unlock()
	if err != nil {
		s.log.Error("reload failed, nothing is changed", "error", err)
		return
	}
	if was.Store.Address != "" {
		c.Store, c.Redis = was.Store, was.Redis
	}
	s.mu.Lock()
	s.config = c
	s.reloads++
	s.mu.Unlock()
	for _, change := range changes {
		select {
		case <-change: // one that was not begun
		default:
		}
		change <- c
	}
	s.log.Info("reloaded")
}

func (s *single) settings() config.Config {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.config
}

// wait waits for d, or reports false when ctx ends first.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (s *single) all() []*part {
	if s.store == nil {
		return s.parts
	}
	return append(s.parts[:len(s.parts):len(s.parts)], s.store)
}

func (s *single) status() (status prefork.Status) {
	s.mu.Lock()
	status.ReloadFailed = s.failure
	s.mu.Unlock()
	for _, p := range s.all() {
		status.Slots = append(status.Slots, p.figures().SlotStatus)
	}
	return status
}

// Status is that of a supervisor.
func (s *single) Status(context.Context) (prefork.Status, error) { return s.status(), nil }

// Stats is that of a supervisor.
func (s *single) Stats(context.Context) (o prefork.Stats, err error) {
	s.mu.Lock()
	o = prefork.Stats{Reloads: s.reloads, RefusedReloads: s.refused, ReloadFailed: s.failure}
	s.mu.Unlock()
	for _, p := range s.all() {
		o.Slots = append(o.Slots, p.figures())
	}
	return o, nil
}

// Dial is that of a supervisor.
func (s *single) Dial(ctx context.Context, slot string) (net.Conn, error) {
	for _, p := range s.all() {
		if p.name != slot {
			continue
		}
		p.mu.Lock()
		current := p.current
		p.mu.Unlock()
		if current != nil {
			return current.visits.dial(ctx)
		}
	}
	return nil, prefork.ErrNoProcess
}

// ListenPersistent is that of a supervisor.
func (*single) ListenPersistent(ctx context.Context, network, address string) (net.Listener, error) {
	return new(net.ListenConfig).Listen(ctx, network, address)
}

// Resumed is that of a supervisor: there is no master before this one.
func (*single) Resumed() bool { return false }
