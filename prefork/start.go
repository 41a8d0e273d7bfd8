package prefork

import (
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// release is what a process is started from: the binary and the configuration
// that the master runs with, or the next one's.
type release struct {
	number  int
	program string // path of the binary
	config  []byte
}

// ownBinary is the running program, also when its file has been replaced since:
// a child that is started again after a crash is the same program as its
// siblings.
const ownBinary = "/proc/self/exe"

// ErrProcNotMounted is New's error if the path to the running binary does not exist, as
// in a root folder without a mounted /proc.
var ErrProcNotMounted = errors.New("no /proc/self/exe, which children are started from: mount -t proc proc /proc")

// supervisor starts, watches and ends the processes of the slots.
type supervisor struct {
	sys      *system
	log      *slog.Logger
	opt      *Options
	slots    *slotTable
	instance string
	release  release // what processes are started from

	messages chan message
	readers  sync.WaitGroup // goroutines that read from children
	ended    chan struct{}  // closed when messages are no longer received
}

// message is one that a child sent on its control socket.
type message struct {
	process *process
	text    string
}

// start gives a slot a process of the running release: its current one if it
// has none, else the next.
func (v *supervisor) start(s *slot) error { return v.startRelease(s, v.release) }

// startRelease is start with another release. A process that cannot be started
// counts as one that died, so the slot tries again after its backoff.
func (v *supervisor) startRelease(s *slot, r release) error {
	now := v.sys.now()
	s.startAt, s.started = time.Time{}, now
	p := &process{slot: s, generation: s.generation + 1, release: r.number, maxRequests: v.drawMaxRequests()}
	if s.current == nil {
		s.current = p
	} else {
		s.next = p
	}
	if err := v.spawn(p, r); err != nil {
		v.handleUnexpectedExit(p, err.Error())
		return err
	}
	s.generation = p.generation
	p.enter(StateBooting, now, v.opt.BootTimeout)
	v.log.Debug("child started", "slot", s.name(), "pid", p.pid, "generation", p.generation)
	v.watch(p)
	return nil
}

func (v *supervisor) spawn(p *process, r release) (err error) {
	if p.counters, p.index = p.slot.page.claim(p.generation); p.counters == nil {
		return errors.New("too many processes in the slot")
	}
	p.slot.reports.clear(p.index)
	p.pid, p.control, err = v.sys.spawn(command{
		program:  r.program,
		argv0:    v.opt.Program + ": " + p.slot.name(),
		env:      v.environ(p),
		config:   v.configFor(p.slot.role, r.config),
		page:     p.slot.page.fd,
		listener: p.slot.listener,
		reports:  p.slot.reports.descriptor(),
	})
	if err == nil {
		p.counters.pid.Store(int64(p.pid))
	}
	return err
}

// configFor returns what a child of a role gets of a configuration.
func (v *supervisor) configFor(role string, config []byte) []byte {
	if v.opt.ConfigFor == nil {
		return config
	}
	return v.opt.ConfigFor(role, config)
}

// drawMaxRequests draws after how many requests a process is replaced: up to a
// tenth more than MaxRequests, so that slots are not replaced in step.
func (v *supervisor) drawMaxRequests() int64 {
	if v.opt.MaxRequests <= 0 {
		return 0
	}
	return v.opt.MaxRequests + rand.N(v.opt.MaxRequests/10+1)
}

// watch begins to read a child's messages.
func (v *supervisor) watch(p *process) {
	v.readers.Go(func() { v.read(p) }) // ends when the control socket is closed
}

// read turns a child's messages into events. End of file is none: SIGCHLD
// announces the exit of the process.
func (v *supervisor) read(p *process) {
	buf := make([]byte, 256)
	for {
		n, err := p.control.Read(buf)
		if err != nil || n == 0 {
			return
		}
		select {
		case v.messages <- message{p, string(buf[:n])}:
		case <-v.ended:
			return
		}
	}
}

// environ is a child's environment: the master's without the variables for the
// master alone, and with the child's share of the machine.
func (v *supervisor) environ(p *process) []string {
	env := slices.DeleteFunc(slices.Clone(v.opt.Environ), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		switch name {
		case envSlot, envGeneration, envInstance, envReports, envState, envTrial, envListenFDs, envListenPID, envListenNames,
			envNotify, "WATCHDOG_USEC", "WATCHDOG_PID", "GOMAXPROCS", "GOMEMLIMIT":
			return true
		}
		return false
	})
	if p.slot.reports != nil {
		env = append(env, envReports+"=1")
	}
	p.resources = v.resourceLimits(p.slot.role)
	env = append(env, strings.Fields(p.resources)...)
	return append(env,
		envSlot+"="+p.slot.name(),
		envGeneration+"="+strconv.Itoa(p.generation),
		envInstance+"="+v.instance,
	)
}

// markReady makes a booting process live if the message says that it is ready,
// and reports whether it did.
func (v *supervisor) markReady(msg message) bool {
	p := msg.process
	if p.state != StateBooting || msg.text != readyMessage {
		return false
	}
	now := v.sys.now()
	v.log.Info("child ready", "slot", p.slot.name(), "pid", p.pid, "boot_time", now.Sub(p.since).Round(time.Millisecond))
	p.enter(StateLive, now, 0)
	p.readyAt = now
	return true
}

// pauseReading stops the goroutines that read from children: what they have
// read would be lost with them when the master executes itself. What is unread
// stays in the sockets.
func (v *supervisor) pauseReading() {
	for p := range v.slots.processes() {
		_ = p.control.SetReadDeadline(time.Unix(1, 0))
	}
	paused := make(chan struct{})
	go func() { // ends when the readers have, which the deadlines see to
		v.readers.Wait()
		close(paused)
	}()
	for {
		select {
		case msg := <-v.messages:
			v.markReady(msg)
		case <-paused:
			return
		}
	}
}

// resumeReading undoes pauseReading.
func (v *supervisor) resumeReading() {
	for p := range v.slots.processes() {
		_ = p.control.SetReadDeadline(time.Time{})
		v.watch(p)
	}
}
