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
	"github.com/galeserver/gale/app/internal/logtail"
	"github.com/galeserver/gale/internal/redisdb"
	"github.com/galeserver/gale/internal/sleep"
	"github.com/galeserver/gale/internal/stateserver"
	"github.com/galeserver/gale/prefork"
)

// The backoff before a failed part is started again doubles from restartMin to
// restartMax.
const (
	restartMin = 100 * time.Millisecond
	restartMax = 5 * time.Second
)

// errSecondSignal is the error of a server that a second signal ended during its drain.
var errSecondSignal = errors.New("stopped without draining: received a second signal")

// single is a server in one process (-single): goroutines take the place of the master
// and its children. A crash of the process ends all of them.
type single struct {
	env   env
	log   *slog.Logger
	store *part   // embedded state server; nil with -redis
	parts []*part // all other parts

	booting   atomic.Int64   // number of parts that have never been ready
	replacing atomic.Int64   // number of parts that have not taken over the last configuration
	stopping  atomic.Bool    // after TERM or INT
	control   chan os.Signal // signals that the admin endpoint sends instead of a process
	draining  sync.WaitGroup // runs that were replaced and have not ended

	mu      sync.Mutex
	config  config.Config
	reloads int    // number of successful reloads
	refused int    // number of failed reloads
	failure string // error of the last reload; empty if it succeeded
}

// runSingle serves until ctx is done or a signal ends the server.
func runSingle(ctx context.Context, e env, c config.Config) error {
	tail := logtail.New(make([]byte, logtail.Size))
	output := &tailWriter{out: e.stderr}
	output.keep(tail)
	log := newLogger(c, output)
	redisdb.SetLogger(log)
	if c.Redis == "" {
		reserved, err := stateserver.Reserve("")
		if err != nil {
			return err
		}
		defer reserved.Release() //nolint:errcheck // the server has ended
		c.Store = config.Store{Address: reserved.Addr, Password: rand.Text()}
		c.Redis = "redis://:" + c.Store.Password + "@" + c.Store.Address
	}
	if c.Workers > 0 {
		if err := checkPlace(ctx, e.app, c, log); err != nil {
			return err
		}
	}
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", c.Address())
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	defer ln.Close() //nolint:errcheck // the server has ended
	if err := c.CheckListener(ln.Addr()); err != nil {
		return err
	}
	s := newSingle(e, c, ln.(*net.TCPListener), log)
	h := newHistory(config.Serve, c, log)
	if h != nil {
		h.Restore(nil)
	}
	admin, err := listenAdmin(ctx, c, s, version(e.app), diagnosticsSource{e, config.Serve, s.settings, tail}, h, log)
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
	s := &single{env: e, config: c, log: log, control: make(chan os.Signal)}
	add := func(role string, number int, work roleWork, ln *net.TCPListener) *part {
		return &part{name: fmt.Sprintf("%s.%d", role, number), role: role, work: work, app: e.app, listener: ln, log: log, state: prefork.StateBooting}
	}
	if c.Store.Address != "" {
		s.store = add(roleStore, 0, runStateServer, nil)
	}
	s.parts = append(s.parts, add(roleServe, 0, serve, ln))
	for n := range c.Workers {
		s.parts = append(s.parts, add(roleWorker, n, work, nil))
	}
	s.booting.Store(int64(len(s.allParts())))
	for _, role := range programRoles(config.Serve, c) {
		for n := range role.Slots {
			p := add(role.Name, n, runProgram, nil)
			p.optional = true
			s.parts = append(s.parts, p)
		}
	}
	return s
}

// run runs the parts until ctx is done or the process receives TERM or INT. HUP reads
// the configuration again and replaces the parts. The embedded state server ends after
// all other parts.
func (s *single) run(ctx context.Context) error {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer signal.Stop(signals)

	partsCtx, stopParts := context.WithCancel(ctx)
	defer stopParts()
	storeCtx, stopStore := context.WithCancel(context.WithoutCancel(ctx))
	defer stopStore()
	var store, parts sync.WaitGroup
	changes := make([]chan config.Config, len(s.parts))
	if s.store != nil {
		store.Go(func() { s.supervise(storeCtx, s.store, nil) }) // ends with storeCtx
	}
	for i, p := range s.parts {
		changes[i] = make(chan config.Config, 1)
		parts.Go(func() { s.supervise(partsCtx, p, changes[i]) }) // ends with partsCtx
	}
	s.handleSignals(ctx, signals, changes)
	s.stopping.Store(true)
	stopParts()
	ended := make(chan struct{})
	go func() { // ends with the parts
		parts.Wait()
		s.draining.Wait()
		stopStore()
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
				return errSecondSignal
			}
		}
	}
}

// handleSignals reloads on HUP, and returns on TERM or INT or when ctx is done.
func (s *single) handleSignals(ctx context.Context, signals <-chan os.Signal, changes []chan config.Config) {
	for {
		var got os.Signal
		select {
		case <-ctx.Done():
			return
		case got = <-signals:
		case got = <-s.control:
		}
		if got != syscall.SIGHUP {
			s.log.Info("stopping", "reason", got.String(), "grace", s.settings().Grace)
			return
		}
		s.reload(changes)
	}
}

// supervise runs a part until ctx is done. It starts the part again with backoff when it
// has failed, and replaces its run for each configuration from changes.
func (s *single) supervise(ctx context.Context, p *part, changes <-chan config.Config) {
	work := context.WithoutCancel(ctx) // stopRun ends each run
	current := p.start(work, s.settings())
	p.setCurrent(current, prefork.StateBooting)
	pause := restartMin
	for {
		ready := current.ready
		if p.live() {
			ready = nil
		}
		select {
		case <-ready:
			s.markLive(p, current)
			s.log.Info("part ready", "slot", p.name, "run", current.number)
		case c := <-changes:
			current = s.replace(ctx, p, current, c)
			s.replacing.Add(-1)
		case <-ctx.Done():
			p.setCurrent(current, prefork.StateLeaving)
			s.stopRun(current)
			p.setCurrent(nil, prefork.StateStopped)
			return
		case <-current.done:
			s.log.Error("part failed", "slot", p.name, "run", current.number, "error", current.err, "restart_in", pause)
			p.countFailure()
			if !sleep.For(ctx, pause) {
				p.setCurrent(nil, prefork.StateStopped)
				return
			}
			pause = min(2*pause, restartMax)
			current = p.start(work, s.settings())
			p.setCurrent(current, prefork.StateBooting)
		}
	}
}

// markLive marks a part as live. It logs "ready" once all parts that are needed have been live.
func (s *single) markLive(p *part, r *partRun) {
	p.setCurrent(r, prefork.StateLive)
	p.booted.Do(func() {
		if !p.optional && s.booting.Add(-1) == 0 {
			s.log.Info("ready", "slots", len(s.allParts()))
		}
	})
}

// replace starts a new run with c and stops the old one when the new one is ready. If
// the new run fails or is not ready within -boot-timeout, the old run stays. replace
// returns the run that is then current.
func (s *single) replace(ctx context.Context, p *part, old *partRun, c config.Config) *partRun {
	next := p.start(context.WithoutCancel(ctx), c)
	timer := time.NewTimer(c.BootTimeout)
	defer timer.Stop()
	select {
	case <-next.ready:
		s.markLive(p, next)
		s.log.Info("part replaced", "slot", p.name, "run", next.number)
		s.draining.Go(func() { s.stopRun(old) }) // ends after the grace period at the latest
		return next
	case <-next.done:
		s.notReplaced(p, next.err.Error())
	case <-timer.C:
		next.stop()
		s.notReplaced(p, "not ready within -boot-timeout of "+c.BootTimeout.String())
	case <-ctx.Done():
		next.stop()
	}
	return old
}

// notReplaced records that a part has not taken over the configuration of a reload.
func (s *single) notReplaced(p *part, why string) {
	s.log.Error("part not replaced, it keeps its old configuration", "slot", p.name, "error", why)
	s.mu.Lock()
	s.failure = p.name + ": " + why
	s.mu.Unlock()
}

// stopRun stops a run and waits until it has ended, at most two seconds longer than the
// grace period.
func (s *single) stopRun(r *partRun) {
	r.stop()
	timer := time.NewTimer(s.settings().Grace + 2*time.Second)
	defer timer.Stop()
	select {
	case <-r.done:
		if r.err != nil {
			s.log.Warn("part ended", "slot", r.name, "run", r.number, "error", r.err)
		}
	case <-timer.C:
		s.log.Error("part still running after the grace period", "slot", r.name, "run", r.number)
	}
}

// reload reads the configuration again and sends it to the parts. If it has a fault,
// nothing changes.
func (s *single) reload(changes []chan config.Config) {
	was := s.settings()
	e := s.env
	e.program = e.program.ReadOnly() // handlers read the current values of the application's flags
	c, err := configure(config.Serve, e)
	switch {
	case err != nil:
	case !slices.Equal(c.Own, was.Own):
		err = fmt.Errorf("with -single, a change to the flags of %s needs a new process: restart the server", e.app.command())
	case !sameSlots(programRoles(config.Serve, c), programRoles(config.Serve, was)):
		err = errors.New("with -single, a change to the names or slots of [workers.NAME] needs a new process: restart the server")
	case c.Address() != was.Address() || c.Admin != was.Admin || c.Statsd != was.Statsd || c.Workers != was.Workers || !c.Single:
		err = errors.New("with -single, a change to -host, -port, -admin, -statsd, -workers or -single needs a new process: restart the server")
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
	s.replacing.Add(int64(len(changes))) // before the reload counts: see status
	s.mu.Lock()
	s.config = c
	s.reloads++
	s.mu.Unlock()
	for _, change := range changes {
		select {
		case <-change: // an earlier change that the part has not received
			s.replacing.Add(-1)
		default:
		}
		change <- c
	}
	s.log.Info("reloaded")
}

// sameSlots reports whether two lists of roles have the same slots.
func sameSlots(a, b []prefork.Role) bool {
	return slices.EqualFunc(a, b, func(a, b prefork.Role) bool { return a.Name == b.Name && a.Slots == b.Slots })
}

func (s *single) settings() config.Config {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.config
}

func (s *single) allParts() []*part {
	if s.store == nil {
		return s.parts
	}
	return append(s.parts[:len(s.parts):len(s.parts)], s.store)
}
