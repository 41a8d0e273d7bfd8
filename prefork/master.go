package prefork

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/galeserver/gale/internal/sleep"
)

// Master starts and supervises the children. Make one with New, call Trial and return
// if this is a trial, bind the sockets with Listen, then call Run.
type Master struct {
	opt   Options
	log   *slog.Logger
	sys   *system
	slots *slotTable

	supervisor *supervisor
	sockets    *sockets
	steering   *steering
	arrivals   *arrivals
	monitor    *monitor
	resizer    *resizer
	rollout    *rollout
	reloader   *reloader
	notifier   *notifier
	parked     *parkedListeners

	stopping string       // reason why the master stops; empty: it does not
	started  bool         // all slots have been live
	resumed  *savedMaster // state of the previous master, until Run has used it
	report   *os.File     // file for the result of a trial; nil: this is no trial
	appState []byte       // state of the application in the previous master

	signals chan os.Signal
	calls   chan func()   // functions for the goroutine of Run
	ended   chan struct{} // closed when Run returns
}

// New makes a master. It binds no socket and starts no process. If another
// master has executed this program for a reload (environment variable GALE_STATE), New
// takes over the slots, sockets and processes of that master. The error is
// ErrProcNotMounted, or says which option or environment variable is wrong, or that a
// restart is needed instead of a reload.
func New(o Options) (*Master, error) {
	m := &Master{
		opt:     o,
		log:     cmp.Or(o.Logger, slog.New(slog.DiscardHandler)),
		sys:     linux(),
		parked:  &parkedListeners{open: map[string]net.Listener{}},
		signals: make(chan os.Signal, 64),
		calls:   make(chan func()),
		ended:   make(chan struct{}),
	}
	m.opt.Roles = make([]Role, len(o.Roles))
	for i, role := range o.Roles {
		m.opt.Roles[i] = role.limited(o)
	}
	m.slots = &slotTable{roles: m.opt.Roles, removed: map[string]savedStats{}}
	m.opt.Program = cmp.Or(o.Program, "server")
	m.opt.Grace = cmp.Or(o.Grace, DefaultGrace)
	m.opt.BootTimeout = cmp.Or(o.BootTimeout, DefaultBootTimeout)
	m.opt.HangTimeout = cmp.Or(o.HangTimeout, DefaultHangTimeout)
	m.opt.Backoff = o.Backoff.withDefaults()
	m.assemble()
	if len(o.Config) > maxConfig {
		return nil, fmt.Errorf("configuration has %d bytes, the limit is %d", len(o.Config), maxConfig)
	}
	if m.sys.identity(ownBinary) == "" {
		return nil, ErrProcNotMounted
	}
	var err error
	if m.reloader.program, err = findProgram(o.Command); err != nil {
		return nil, err
	}
	saved, report, err := inheritState(o.Environ)
	m.report = report
	if err != nil {
		return nil, err
	}
	if saved != nil {
		if m.report == nil {
			m.sys.subscribe(m.signals, masterSignals...) // as early as possible, see holdSignals
		}
		return m, m.resume(saved)
	}
	if len(o.Roles) == 0 || o.Roles[0].Slots == 0 {
		return nil, errors.New("no slots: the first role needs at least one")
	}
	if m.supervisor.shared, err = newShared(o.SharedMemory); err != nil {
		return nil, err
	}
	return m, m.makeSlots()
}

// assemble makes the parts of the master. Each has its own state. None has a reference
// to the master, except the reloader, which has it as its reloadHost.
func (m *Master) assemble() {
	m.notifier = &notifier{sys: m.sys, log: m.log}
	m.supervisor = &supervisor{
		sys: m.sys, log: m.log, opt: &m.opt, slots: m.slots, instance: instance(),
		release:  release{0, ownBinary, m.opt.Config},
		messages: make(chan message), ended: m.ended,
	}
	m.sockets = &sockets{sys: m.sys}
	m.arrivals = &arrivals{sys: m.sys}
	m.steering = &steering{sys: m.sys, log: m.log, sockets: m.sockets}
	m.monitor = &monitor{
		sys: m.sys, log: m.log, slots: m.slots, sockets: m.sockets, quit: m.supervisor.quit,
		hangTimeout: m.opt.HangTimeout,
	}
	m.resizer = &resizer{log: m.log, slots: m.slots, sockets: m.sockets, steering: m.steering, supervisor: m.supervisor}
	m.rollout = &rollout{log: m.log, slots: m.slots, supervisor: m.supervisor}
	m.reloader = &reloader{
		sys: m.sys, log: m.log, opt: &m.opt, slots: m.slots, supervisor: m.supervisor, notifier: m.notifier, host: m,
	}
}

// findProgram returns the path of the program in a command line. It searches PATH as a
// shell does. A symbolic link is not resolved, because it may point to another
// file at the next reload.
func findProgram(command []string) (string, error) {
	if len(command) == 0 {
		return "", nil
	}
	path, err := exec.LookPath(command[0])
	if err == nil {
		path, err = filepath.Abs(path)
	} else { // argv[0] is not the name of a file
		path, err = os.Executable()
	}
	if err != nil {
		return "", fmt.Errorf("find the running program: %w", err)
	}
	return path, nil
}

// makeSlots makes the slots of all roles. If systemd has passed more than one socket,
// a role that listens gets a slot for each of them.
func (m *Master) makeSlots() error {
	count, err := systemdSocketCount(m.opt.Environ, os.Getpid())
	if err != nil {
		return err
	}
	for _, role := range m.opt.Roles {
		if role.Listens && count > 0 {
			m.sockets.fromSystemd, m.sockets.shared = true, count == 1
			if count > 1 {
				role.Slots = count
			}
		}
		for n := range role.Slots {
			s, err := m.slots.create(role, n)
			if err != nil {
				return err
			}
			m.slots.all = append(m.slots.all, s)
		}
	}
	return nil
}

// instance returns a unique name for this master. It is part of the owner of leases
// in a shared store.
func instance() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return host + "-" + strings.ToLower(rand.Text()[:10])
}

// Run starts a process in every slot and supervises the processes until SIGTERM,
// SIGINT or the end of ctx. Then it drains the children within Options.Grace, and
// returns nil when all have exited. A further SIGTERM or SIGINT kills them.
//
// Call Run once, on the main goroutine, which must be locked to the main thread with
// runtime.LockOSThread in an init function (see spawn). Otherwise it returns an error.
func (m *Master) Run(ctx context.Context) error {
	if unix.Gettid() != os.Getpid() {
		return errors.New("prefork: Run must be called on the main thread")
	}
	// Without this, the server would end when the reader of its log exits (os/signal,
	// section SIGPIPE).
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	return m.run(ctx)
}

// masterSignals are the signals that a master handles, besides SIGCHLD.
var masterSignals = []os.Signal{
	syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGTTIN, syscall.SIGTTOU,
}

func (m *Master) run(ctx context.Context) error {
	defer close(m.ended)
	m.sys.subscribe(m.signals, masterSignals...)
	children := make(chan os.Signal, 1) // capacity 1 is enough: reap collects all exits
	m.sys.subscribe(children, syscall.SIGCHLD)
	if m.resumed != nil {
		m.takeOver()
	} else {
		for _, s := range m.slots.all {
			_ = m.supervisor.start(s) // an error is logged, and the start is tried again
		}
	}
	quit := ctx.Done()
	deadline, check := time.NewTimer(0), time.NewTimer(0)
	defer deadline.Stop()
	defer check.Stop()
	defer m.arrivals.end()
	watchdog, stopWatchdog := watchdog()
	defer stopWatchdog()
	for !m.stopped() {
		m.removeStopped()
		m.steering.update()
		m.continueRollingReplace()
		m.notifier.status(m.summary())
		deadline.Reset(m.nextDeadline())
		select {
		case <-quit:
			quit = nil
			if m.stopping == "" { // the end of ctx is not a second signal
				m.stop("context ended")
			}
		case sig := <-m.signals:
			m.handleSignal(sig)
		case <-children:
			m.reap()
		case msg := <-m.supervisor.messages:
			m.handleMessage(msg)
		case <-deadline.C:
			m.expire()
		case <-check.C:
			check.Reset(m.checkProcesses())
		case <-m.arrivals.arrived:
			m.steering.expect(m.sys.now())
			check.Reset(m.checkProcesses())
		case <-watchdog:
			m.notifier.watchdog()
		case call := <-m.calls:
			call()
		}
	}
	m.log.Info("stopped")
	return nil
}

// handleSignal handles SIGTERM, SIGINT, SIGHUP, SIGTTIN and SIGTTOU.
func (m *Master) handleSignal(sig os.Signal) {
	name := unix.SignalName(sig.(syscall.Signal))
	switch {
	case sig == syscall.SIGTERM || sig == syscall.SIGINT:
		m.stop(name)
	case m.stopping != "":
	case sig == syscall.SIGHUP:
		m.reloader.request()
	case sig == syscall.SIGTTIN:
		m.resizer.grow(m.opt.Roles[0], name)
	case sig == syscall.SIGTTOU:
		m.resizer.shrink(m.opt.Roles[0], name)
	}
}

// checkProcesses checks the processes and the accept queues, and returns the time
// until the next check.
func (m *Master) checkProcesses() time.Duration {
	now := m.sys.now()
	next := m.steering.observe(now)
	if m.resizer.closeEmptySockets(now) {
		next = min(next, checkInterval)
	}
	recovered, again := m.monitor.check(now)
	if recovered {
		m.checkReady()
	}
	if next = min(next, again); next < idleInterval {
		m.arrivals.end()
		return next
	}
	m.arrivals.begin(m.sockets.listeners())
	return sleep.Align(idleInterval)
}

func (m *Master) stopped() bool {
	if m.stopping == "" {
		return false
	}
	for range m.slots.processes() {
		return false
	}
	return true
}

// nextDeadline returns the time until the next deadline.
func (m *Master) nextDeadline() time.Duration {
	now := m.sys.now()
	next := earliest(now.Add(time.Hour), m.supervisor.nextDeadline(now))
	next = earliest(next, m.reloader.nextDeadline())
	return max(next.Sub(now), 0)
}
