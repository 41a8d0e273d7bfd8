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
}

// Options configure a Master. The zero value of a field is its default.
type Options struct {
	Roles []Role
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
	// Grace is how long a leaving child may finish its work; then it is
	// killed. Default 30 s.
	Grace time.Duration
	// BootTimeout is how long a child may take to say that it is ready; then
	// it is killed and started again. Default 30 s.
	BootTimeout time.Duration
	Backoff     Backoff
	// HangTimeout is how long a child may show no life, no heartbeat or nothing
	// accepted while connections wait, before it is killed and replaced.
	// Default 30 s; negative is never, and heartbeats are not looked at.
	HangTimeout time.Duration
	// Logger gets a line for every change of a slot. Default: none.
	Logger *slog.Logger
}

// Master supervises the slots. Make one with New, bind with Listen, then Run.
type Master struct {
	opt      Options
	log      *slog.Logger
	sys      system
	instance string
	slots    []*slot
	group    []*slot // those that listen, in the order of listen(2)
	shares   []share // what connections are steered by
	arrivals int     // connections accepted between the last two looks
	arrived  int64   // all that were accepted by the last look

	stopping string // why the master stops; empty while it does not
	started  bool   // every slot has been live
	messages chan message
	requests chan chan<- []SlotStatus
	ended    chan struct{}
}

// message is something a child said on its control socket.
type message struct {
	slot       *slot
	generation int
	text       string
}

// New makes a master; nothing is bound and no process started yet.
func New(o Options) (*Master, error) {
	m := &Master{
		opt:      o,
		log:      cmp.Or(o.Logger, slog.New(slog.DiscardHandler)),
		sys:      linux(),
		instance: instance(),
		messages: make(chan message),
		requests: make(chan chan<- []SlotStatus),
		ended:    make(chan struct{}),
	}
	m.opt.Program = cmp.Or(o.Program, "server")
	m.opt.Grace = cmp.Or(o.Grace, DefaultGrace)
	m.opt.BootTimeout = cmp.Or(o.BootTimeout, DefaultBootTimeout)
	m.opt.HangTimeout = cmp.Or(o.HangTimeout, DefaultHangTimeout)
	m.opt.Backoff = o.Backoff.withDefaults()
	for _, role := range o.Roles {
		for n := range role.Slots {
			s := &slot{role: role.Name, number: n, listener: -1, state: Waiting}
			var err error
			if s.page, err = newPage(s.name()); err != nil {
				return nil, fmt.Errorf("make scoreboard: %w", err)
			}
			m.slots = append(m.slots, s)
		}
	}
	if len(o.Config) > maxConfig {
		return nil, fmt.Errorf("configuration of %d bytes is larger than %d", len(o.Config), maxConfig)
	}
	if len(m.slots) == 0 {
		return nil, errors.New("no slots: nothing to run")
	}
	return m, nil
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

// Listen binds the sockets of the roles that listen and returns the address,
// with the port the kernel chose if it was 0. It returns nil if no role
// listens. Errors wrap the system's: syscall.EADDRINUSE, syscall.EACCES.
func (m *Master) Listen() (net.Addr, error) {
	var listening []*slot
	for _, role := range m.opt.Roles {
		for _, s := range m.slots {
			if role.Listens && s.role == role.Name {
				listening = append(listening, s)
			}
		}
	}
	if len(listening) == 0 {
		return nil, nil
	}
	fds, addr, err := listenGroup(m.opt.Address, len(listening))
	if err != nil {
		return nil, err
	}
	for i, s := range listening {
		s.listener, s.index = fds[i], i
	}
	m.group = listening
	return addr, nil
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
	return m.run(ctx)
}

func (m *Master) run(ctx context.Context) error {
	defer close(m.ended)
	signals := make(chan os.Signal, 8)
	m.sys.notify(signals, syscall.SIGTERM, syscall.SIGINT)
	children := make(chan os.Signal, 1) // one is enough: reap takes all
	m.sys.notify(children, syscall.SIGCHLD)

	for _, s := range m.slots {
		m.start(s)
	}
	quit := ctx.Done()
	timer := time.NewTimer(0)
	defer timer.Stop()
	examine := time.NewTicker(examineEvery)
	defer examine.Stop()
	for !m.stopped() {
		m.arrange()
		timer.Reset(m.nextDeadline())
		select {
		case <-quit:
			quit = nil
			m.stop("context ended")
		case sig := <-signals:
			m.stop(unix.SignalName(sig.(syscall.Signal)))
		case <-children:
			m.reap()
		case msg := <-m.messages:
			m.hear(msg)
		case <-timer.C:
			m.expire()
		case <-examine.C:
			m.examine()
		case answer := <-m.requests:
			answer <- m.status()
		}
	}
	m.log.Info("stopped")
	return nil
}

func (m *Master) stopped() bool {
	for _, s := range m.slots {
		if s.state != Stopped {
			return false
		}
	}
	return true
}

// nextDeadline is how long until the first slot's state has to change.
func (m *Master) nextDeadline() time.Duration {
	next := time.Hour
	now := m.sys.now()
	for _, s := range m.slots {
		if !s.deadline.IsZero() {
			next = min(next, s.deadline.Sub(now))
		}
	}
	return max(next, 0)
}

// hear takes what a child said. What an earlier process of the slot said and
// what came too late is passed over.
func (m *Master) hear(msg message) {
	s := msg.slot
	if msg.generation != s.generation || s.state != Booting || msg.text != readyMessage {
		return
	}
	now := m.sys.now()
	m.log.Info("child ready", "slot", s.name(), "pid", s.pid, "boot_time", now.Sub(s.since).Round(time.Millisecond))
	s.enter(Live, now, 0)
	s.booted = now
	if m.started {
		return
	}
	for _, s := range m.slots {
		if s.state != Live {
			return
		}
	}
	m.started = true
	m.log.Info("ready", "slots", len(m.slots))
}
