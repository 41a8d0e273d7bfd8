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
	"sync"
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
	// ConfigFor, if it is given, returns what children of a role get of a
	// configuration instead of all of it; it may be that of the next binary.
	ConfigFor func(role string, config []byte) []byte
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
	opt      Options
	log      *slog.Logger
	sys      system
	program  string // path of the binary that a reload executes
	instance string
	slots    []*slot

	address   *net.TCPAddr // of the listening sockets
	handed    bool         // they came from systemd
	shared    bool         // there is one, for all
	group     []*slot      // those with a socket of their own, in the order of listen(2)
	shares    []share      // what connections are steered by
	unsteered bool         // the kernel refused to be told
	arrivals  int          // connections accepted between the last two looks
	arrived   int64        // all that were accepted by the last look
	busy      time.Time    // when connections were last seen to come
	uneven    bool         // some slots hold many more than others
	looked    time.Time    // when processes were, by the wall clock
	weighed   time.Time    // when memory was last looked at
	aside     map[string]net.Listener

	former  map[string]savedFigures // of slots that were removed, by name
	reloads int                     // that reached every slot
	refused int                     // that did not change anything

	stopping string // why the master stops; empty while it does not
	started  bool   // every slot has been live
	told     string // what systemd was last told

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
	messages chan message
	readers  sync.WaitGroup // goroutines that listen to children
	requests chan func()    // called by Run's goroutine
	ended    chan struct{}
}

// message is something a child said on its control socket.
type message struct {
	process *process
	text    string
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
		instance: instance(),
		aside:    map[string]net.Listener{},
		signals:  make(chan os.Signal, 64),
		messages: make(chan message),
		requests: make(chan func()),
		former:   map[string]savedFigures{},
		ended:    make(chan struct{}),
	}
	m.opt.Program = cmp.Or(o.Program, "server")
	m.opt.Grace = cmp.Or(o.Grace, DefaultGrace)
	m.opt.BootTimeout = cmp.Or(o.BootTimeout, DefaultBootTimeout)
	m.opt.HangTimeout = cmp.Or(o.HangTimeout, DefaultHangTimeout)
	m.opt.Backoff = o.Backoff.withDefaults()
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
			m.handed, m.shared = true, handed == 1
			if handed > 1 {
				role.Slots = handed
			}
		}
		for n := range role.Slots {
			s, err := m.newSlot(role, n)
			if err != nil {
				return err
			}
			m.slots = append(m.slots, s)
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
		for _, s := range m.slots {
			m.start(s, m.self())
		}
	}
	quit := ctx.Done()
	deadline, look := time.NewTimer(0), time.NewTimer(0)
	defer deadline.Stop()
	defer look.Stop()
	watchdog, stopWatchdog := m.watchdog()
	defer stopWatchdog()
	for !m.stopped() {
		m.sweep()
		m.arrange()
		m.turn()
		m.tellStatus()
		deadline.Reset(m.nextDeadline())
		select {
		case <-quit:
			quit = nil
			m.stop("context ended")
		case sig := <-m.signals:
			m.signal(sig)
		case <-children:
			m.reap()
		case msg := <-m.messages:
			m.hear(msg)
		case <-deadline.C:
			m.expire()
		case <-look.C:
			look.Reset(m.examine())
		case <-watchdog:
			m.tell("WATCHDOG=1")
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

// watchdog ticks as often as systemd wants to hear that the master goes round.
func (m *Master) watchdog() (tick <-chan time.Time, stop func()) {
	every := watchdogEvery()
	if every <= 0 {
		return nil, func() {}
	}
	t := time.NewTicker(every)
	return t.C, t.Stop
}

func (m *Master) stopped() bool {
	if m.stopping == "" {
		return false
	}
	for range m.processes() {
		return false
	}
	return true
}

// nextDeadline is how long until the first state has to change.
func (m *Master) nextDeadline() time.Duration {
	next := time.Hour
	now := m.sys.now()
	at := func(t time.Time) {
		if !t.IsZero() {
			next = min(next, t.Sub(now))
		}
	}
	for _, s := range m.slots {
		if s.current == nil || now.Before(s.again) {
			at(s.again)
		}
	}
	for p := range m.processes() {
		at(p.deadline)
	}
	if m.reload != nil && m.reload.trial != nil && !m.reload.trial.late {
		at(m.reload.trial.deadline)
	}
	return max(next, 0)
}
