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
)

// Defaults of Options.
const (
	DefaultGrace       = 30 * time.Second
	DefaultBootTimeout = 30 * time.Second
	DefaultHangTimeout = 30 * time.Second
)

// Role is a kind of child.
type Role struct {
	Name string // a short word: serve, worker
	// Slots is how many processes of it run at once.
	Slots int
	// Listens gives each slot a listening socket on Options.Address.
	Listens bool
	// Keep lets a reload leave its processes alone.
	Keep bool
}

// Options configure a Master. The zero value of a field is its default.
type Options struct {
	// Roles are the kinds of children, and how many of each. SIGTTIN and
	// SIGTTOU add and remove slots of the first.
	Roles []Role
	// Command is the command line of this process, the program first: what a
	// reload executes again. Without it there is no reload.
	Command []string
	// Address is the TCP address of the roles that listen, host:port.
	Address string
	// Program is the name that children show in ps, before their slot.
	// Default "server".
	Program string
	// Config is handed to every child as it is: what the master has checked
	// is what children run with, whatever happens to files meanwhile. At most
	// 128 KiB.
	Config []byte
	// Environ is what children inherit, in the form of os.Environ.
	Environ []string
	// Grace is how long a leaving child may finish its work; then it is made to
	// print its goroutines and, 2 s later, killed. Default 30 s.
	Grace time.Duration
	// BootTimeout is how long a child may take to say that it is ready; then
	// it is killed and started again. Default 30 s.
	BootTimeout time.Duration
	Backoff     Backoff
	// HangTimeout is how long a child may show no life, no heartbeat or nothing
	// accepted while connections wait, before it is killed and replaced.
	// Default 30 s; negative is never, and heartbeats are not looked at.
	HangTimeout time.Duration
	// MaxRequests is after how many requests a process is replaced, up to a
	// tenth more, drawn for each. Default: never.
	MaxRequests int64
	// MaxRSS is the resident memory in bytes from which on a process is
	// replaced. Default: unlimited.
	MaxRSS int64
	// Merge adds the last report of a process that is gone to those of earlier
	// ones of its slot, past, which is nil at first, and returns the sum. It is
	// called by Run's goroutine and must be quick. Default: such reports are
	// forgotten.
	Merge func(past, last []byte) []byte
	// Logger gets a line for every change of a slot. Default: none.
	Logger *slog.Logger
}

// Master supervises the slots. Make one with New, bind with Listen, then Run.
type Master struct {
	opt     Options
	log     *slog.Logger
	sys     *system
	program string // path of the binary that a reload executes
	slots   *slotTable

	supervisor *supervisor
	sockets    *sockets
	steering   *steering
	monitor    *monitor

	reloads int // that reached every slot
	refused int // that did not change anything

	stopping string // why the master stops; empty while it does not
	started  bool   // every slot has been live

	release int          // how many reloads there were
	reload  *reload      // the one under way before it hands over
	rolling bool         // and behind: processes are replaced
	again   bool         // another one was asked for meanwhile
	binary  string       // identity of the binary that this master was tried as
	failure string       // why the last one failed; empty: it did not
	setback string       // why it has not reached all slots yet
	resumed *savedMaster // what the master before has left, until Run
	report  *os.File     // where a trial reports to; nil: this is none

	signals  chan os.Signal
	notifier *notifier
	parked   *parkedListeners

	requests chan func() // called by Run's goroutine
	ended    chan struct{}
}

// New makes a master; nothing is bound and no process started yet. If the
// environment says that another master executed this one in its place, its
// slots, sockets and processes are taken over. The error is ErrNoProc where
// children could not be started.
func New(o Options) (*Master, error) {
	m := &Master{
		opt:      o,
		log:      cmp.Or(o.Logger, slog.New(slog.DiscardHandler)),
		sys:      linux(),
		parked:   &parkedListeners{open: map[string]net.Listener{}},
		signals:  make(chan os.Signal, 64),
		requests: make(chan func()),
		slots:    &slotTable{roles: o.Roles, former: map[string]savedFigures{}},
		ended:    make(chan struct{}),
	}
	m.opt.Program = cmp.Or(o.Program, "server")
	m.opt.Grace = cmp.Or(o.Grace, DefaultGrace)
	m.opt.BootTimeout = cmp.Or(o.BootTimeout, DefaultBootTimeout)
	m.opt.HangTimeout = cmp.Or(o.HangTimeout, DefaultHangTimeout)
	m.opt.Backoff = o.Backoff.withDefaults()
	m.notifier = &notifier{sys: m.sys, log: m.log}
	m.supervisor = &supervisor{
		sys: m.sys, log: m.log, opt: &m.opt, slots: m.slots, instance: instance(),
		messages: make(chan message), ended: m.ended,
	}
	m.sockets = &sockets{sys: m.sys}
	m.steering = &steering{sys: m.sys, log: m.log, sockets: m.sockets}
	m.monitor = &monitor{
		sys: m.sys, log: m.log, slots: m.slots, sockets: m.sockets, quit: m.supervisor.quit,
		hangTimeout: m.opt.HangTimeout, maxRSS: m.opt.MaxRSS,
	}
	if len(o.Config) > maxConfig {
		return nil, fmt.Errorf("configuration of %d bytes is larger than %d", len(o.Config), maxConfig)
	}
	if m.sys.identity(ownBinary) == "" {
		return nil, ErrNoProc
	}
	var err error
	if m.program, err = program(o.Command); err != nil {
		return nil, err
	}
	saved, report, err := inheritState(o.Environ)
	m.report = report
	if err != nil {
		return nil, err
	}
	if saved != nil {
		if m.report == nil {
			m.sys.notify(m.signals, masterSignals...) // no later than need be, see hush
		}
		return m, m.resume(saved)
	}
	if len(o.Roles) == 0 || o.Roles[0].Slots == 0 {
		return nil, errors.New("no slots: nothing to run")
	}
	return m, m.makeSlots()
}

// program finds the file that a command line names, as the shell did. A
// symbolic link is kept: it may name another file by the next reload.
func program(command []string) (string, error) {
	if len(command) == 0 {
		return "", nil
	}
	path, err := exec.LookPath(command[0])
	if err == nil {
		path, err = filepath.Abs(path)
	} else { // started under another name than its file's
		path, err = os.Executable()
	}
	if err != nil {
		return "", fmt.Errorf("find the running program: %w", err)
	}
	return path, nil
}

// makeSlots makes the slots that the options ask for; as many serve as systemd
// has handed over sockets, if it was more than one.
func (m *Master) makeSlots() error {
	handed, err := handedOver(m.opt.Environ, os.Getpid())
	if err != nil {
		return err
	}
	for _, role := range m.opt.Roles {
		if role.Listens && handed > 0 {
			m.sockets.handed, m.sockets.shared = true, handed == 1
			if handed > 1 {
				role.Slots = handed
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

// instance names this master among all that ever run: leases that its workers
// hold on shared stores carry it.
func instance() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return host + "-" + strings.ToLower(rand.Text()[:10])
}

// Run starts every slot and supervises them until SIGTERM, SIGINT or the end
// of ctx; then it lets the children finish within the grace time and returns
// nil when none is left. A second signal kills them at once.
//
// It must be called on the main goroutine, locked to the main thread (see
// spawn), and once.
func (m *Master) Run(ctx context.Context) error {
	if unix.Gettid() != os.Getpid() {
		return errors.New("prefork: Run must be called on the main thread")
	}
	// Else a log that nobody reads any more ends the server (os/signal, SIGPIPE).
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	return m.run(ctx)
}

// masterSignals are those that mean something to a master.
var masterSignals = []os.Signal{
	syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGTTIN, syscall.SIGTTOU,
}

func (m *Master) run(ctx context.Context) error {
	defer close(m.ended)
	m.sys.notify(m.signals, masterSignals...)
	children := make(chan os.Signal, 1) // one is enough: reap takes all
	m.sys.notify(children, syscall.SIGCHLD)
	if m.resumed != nil {
		m.takeOver()
	} else {
		for _, s := range m.slots.all {
			_ = m.supervisor.start(s, m.self()) // logged, and tried again
		}
	}
	quit := ctx.Done()
	deadline, look := time.NewTimer(0), time.NewTimer(0)
	defer deadline.Stop()
	defer look.Stop()
	watchdog, stopWatchdog := watchdog()
	defer stopWatchdog()
	for !m.stopped() {
		m.removeStopped()
		m.steering.update()
		m.turn()
		m.notifier.status(m.summary())
		deadline.Reset(m.nextDeadline())
		select {
		case <-quit:
			quit = nil
			m.stop("context ended")
		case sig := <-m.signals:
			m.signal(sig)
		case <-children:
			m.reap()
		case msg := <-m.supervisor.messages:
			m.handleMessage(msg)
		case <-deadline.C:
			m.expire()
		case <-look.C:
			look.Reset(m.examine())
		case <-watchdog:
			m.notifier.watchdog()
		case look := <-m.requests:
			look()
		}
	}
	m.log.Info("stopped")
	return nil
}

// signal does what a signal asks for.
func (m *Master) signal(sig os.Signal) {
	name := unix.SignalName(sig.(syscall.Signal))
	switch sig {
	case syscall.SIGHUP:
		m.hup()
	case syscall.SIGTTIN:
		m.grow(name)
	case syscall.SIGTTOU:
		m.shrink(name)
	default:
		m.stop(name)
	}
}

// examine looks at the processes and the sockets, and returns when it wants to
// look again.
func (m *Master) examine() time.Duration {
	now := m.sys.now()
	next := m.steering.observe(now)
	for _, s := range m.slots.all {
		if s.retiring {
			m.retire(s, now)
			next = min(next, examineEvery)
		}
	}
	recovered, again := m.monitor.examine(now)
	if recovered {
		m.checkSettled()
	}
	return min(next, again)
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

// nextDeadline is how long until the first state has to change.
func (m *Master) nextDeadline() time.Duration {
	now := m.sys.now()
	next := earliest(now.Add(time.Hour), m.supervisor.nextDeadline(now))
	if m.reload != nil && m.reload.trial != nil && !m.reload.trial.late {
		next = earliest(next, m.reload.trial.deadline)
	}
	return max(next.Sub(now), 0)
}
