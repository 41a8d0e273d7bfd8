package prefork

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// release is a binary and a configuration that processes are started from: those of the
// running master or, during a reload, the new ones.
type release struct {
	number  int    // 0 for the first master, one more after each reload
	program string // path of the binary
	config  []byte
}

// ownBinary is the path of the running binary. It stays valid when the file of the
// binary is replaced. A later child therefore has the same release as the other children.
const ownBinary = "/proc/self/exe"

// ErrProcNotMounted is returned by New if /proc/self/exe does not exist, for example in
// a chroot without /proc. The master starts children from that path.
var ErrProcNotMounted = errors.New("no /proc/self/exe to start children from: mount -t proc proc /proc")

// supervisor starts and stops the processes of the slots, and reads their messages.
type supervisor struct {
	sys      *system
	log      *slog.Logger
	opt      *Options
	slots    *slotTable
	instance string
	release  release // the running release
	shared   *shared // memory that all processes share; nil: none

	messages chan message
	readers  sync.WaitGroup // goroutines that read the control sockets
	ended    chan struct{}  // closed when Run returns
}

// message is a message from a child, received on its control socket.
type message struct {
	process *process
	text    string
}

// start starts a process of the running release in a slot: its current process if it
// has none, else the successor of that.
func (v *supervisor) start(s *slot) error { return v.startRelease(s, v.release) }

// startRelease is like start, for any release. A failed start is handled as an
// unexpected exit, so that the start is tried again after the backoff.
func (v *supervisor) startRelease(s *slot, r release) error {
	now := v.sys.now()
	s.startAt, s.started = time.Time{}, now
	p := &process{slot: s, generation: s.generation + 1, release: r.number, maxRequests: drawMaxRequests(s.maxRequests)}
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
		return fmt.Errorf("the slot has reached the limit of %d processes", maxProcesses)
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
		shared:   v.shared.descriptor(),
	})
	if err == nil {
		p.counters.pid.Store(int64(p.pid))
	}
	return err
}

// configFor returns the part of a configuration for the children of a role.
func (v *supervisor) configFor(role string, config []byte) []byte {
	if v.opt.ConfigFor == nil {
		return config
	}
	return v.opt.ConfigFor(role, config)
}

// drawMaxRequests returns the request limit of a new process: limit plus up to a tenth at
// random, so that slots are not replaced at the same time. 0 means unlimited.
func drawMaxRequests(limit int64) int64 {
	if limit <= 0 {
		return 0
	}
	return limit + rand.N(limit/10+1)
}

// watch starts a goroutine that reads the messages of a child.
func (v *supervisor) watch(p *process) {
	v.readers.Go(func() { v.read(p) }) // ends when the control socket is closed
}

// read passes the messages of a child to the loop of Run. It ignores end of file,
// because SIGCHLD reports the exit of the process.
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

// environ returns the environment of a child: the environment of the master without the
// variables that are only for the master, and the variables for the child's slot and
// resource limits.
func (v *supervisor) environ(p *process) []string {
	env := slices.Clone(v.opt.Environ)
	if v.opt.EnvironFor != nil {
		env = v.opt.EnvironFor(p.slot.role, env)
	}
	env = slices.DeleteFunc(env, func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		switch name {
		case envSlot, envGeneration, envInstance, envReports, envShared, envState, envTrial, envListenFDs, envListenPID, envListenNames,
			envNotify, "WATCHDOG_USEC", "WATCHDOG_PID", "GOMAXPROCS", "GOMEMLIMIT":
			return true
		}
		return false
	})
	if p.slot.reports != nil {
		env = append(env, envReports+"=1")
	}
	if v.shared != nil {
		env = append(env, envShared+"=1")
	}
	p.resources = v.resourceLimits(p.slot.role)
	env = append(env, strings.Fields(p.resources)...)
	return append(env,
		envSlot+"="+p.slot.name(),
		envGeneration+"="+strconv.Itoa(p.generation),
		envInstance+"="+v.instance,
	)
}

// markReady handles a message: if a booting process has sent readyMessage, its state becomes
// live. It reports whether that is so.
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

// pauseReading stops the goroutines that read from children, and handles the messages that
// they have read. Otherwise these messages would be lost when the master executes the new
// binary. Unread messages stay in the sockets.
func (v *supervisor) pauseReading() {
	for p := range v.slots.processes() {
		_ = p.control.SetReadDeadline(time.Unix(1, 0))
	}
	paused := make(chan struct{})
	go func() { // ends with the readers, which the deadlines end
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
