package prefork

import (
	"cmp"
	"errors"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
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

// ErrNoProc is New's error where there is no way to the own binary, as in a root
// folder in which nobody has mounted /proc.
var ErrNoProc = errors.New("no /proc/self/exe, which children are started from: mount -t proc proc /proc")

// self is the release of the running master.
func (m *Master) self() release { return release{m.release, ownBinary, m.opt.Config} }

// start gives a slot a process: its current one if it has none, else the next.
func (m *Master) start(s *slot, r release) {
	now := m.sys.now()
	s.again, s.started = time.Time{}, now
	p := &process{slot: s, generation: s.generation + 1, release: r.number, enough: m.enough()}
	if s.current == nil {
		s.current = p
	} else {
		s.next = p
	}
	if err := m.spawn(p, r); err != nil {
		// Out of processes, memory or files: for the slot as good as a death.
		m.died(p, err.Error())
		return
	}
	s.generation = p.generation
	p.enter(Booting, now, m.opt.BootTimeout)
	m.log.Debug("child started", "slot", s.name(), "pid", p.pid, "generation", p.generation)
	m.readers.Go(func() { m.listen(p) }) // ends when the control socket is closed
}

func (m *Master) spawn(p *process, r release) (err error) {
	if p.lane, p.place = p.slot.page.claim(p.generation); p.lane == nil {
		return errors.New("too many processes in the slot")
	}
	p.slot.reports.clear(p.place)
	p.pid, p.control, err = m.sys.spawn(command{
		program:  r.program,
		argv0:    m.opt.Program + ": " + p.slot.name(),
		env:      m.environ(p),
		config:   m.configFor(p.slot.role, r.config),
		page:     p.slot.page.fd,
		listener: p.slot.listener,
		reports:  p.slot.reports.descriptor(),
	})
	if err == nil {
		p.lane.pid.Store(int64(p.pid))
	}
	return err
}

// configFor is what a child of a role gets of a configuration.
func (m *Master) configFor(role string, config []byte) []byte {
	if m.opt.ConfigFor == nil {
		return config
	}
	return m.opt.ConfigFor(role, config)
}

// enough draws after how many requests a process is replaced: up to a tenth
// more than MaxRequests, so that slots do not take their leave in step.
func (m *Master) enough() int64 {
	if m.opt.MaxRequests <= 0 {
		return 0
	}
	return m.opt.MaxRequests + rand.N(m.opt.MaxRequests/10+1)
}

// listen turns what a child says into events. End of file says nothing: the
// process's exit is what counts, and SIGCHLD tells it.
func (m *Master) listen(p *process) {
	buf := make([]byte, 256)
	for {
		n, err := p.control.Read(buf)
		if err != nil || n == 0 {
			return
		}
		select {
		case m.messages <- message{p, string(buf[:n])}:
		case <-m.ended:
			return
		}
	}
}

// environ is a child's environment: the master's without what was meant for
// the master alone, and the child's share of the machine.
func (m *Master) environ(p *process) []string {
	env := slices.DeleteFunc(slices.Clone(m.opt.Environ), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		switch name {
		case EnvSlot, EnvGeneration, EnvInstance, envReports, envState, envTrial, envListenFDs, envListenPID, envListenNames,
			envNotify, "WATCHDOG_USEC", "WATCHDOG_PID", "GOMAXPROCS", "GOMEMLIMIT":
			return true
		}
		return false
	})
	if p.slot.reports != nil {
		env = append(env, envReports+"=1")
	}
	p.share = m.shareOfMachine(p.slot.role)
	env = append(env, strings.Fields(p.share)...)
	return append(env,
		EnvSlot+"="+p.slot.name(),
		EnvGeneration+"="+strconv.Itoa(p.generation),
		EnvInstance+"="+m.instance,
	)
}

// hear takes what a child said.
func (m *Master) hear(msg message) {
	p := msg.process
	if !m.markReady(msg) {
		return
	}
	switch {
	case m.reload != nil && p == m.reload.canary:
		m.nextCanary()
	case p == p.slot.next:
		m.promote(p.slot)
	}
	m.settled()
}

// markReady notes that a process does its work now, if that is what it said,
// and reports whether it was news.
func (m *Master) markReady(msg message) bool {
	p := msg.process
	if p.state != Booting || msg.text != readyMessage {
		return false
	}
	now := m.sys.now()
	m.log.Info("child ready", "slot", p.slot.name(), "pid", p.pid, "boot_time", now.Sub(p.since).Round(time.Millisecond))
	p.enter(Live, now, 0)
	p.booted = now
	return true
}

// promote makes a slot's next process its current one; the old one leaves.
func (m *Master) promote(s *slot) {
	old := s.current
	s.current, s.next = s.next, nil
	if old != nil {
		m.arrange() // its clients come back at once, to where there is room
		m.leave(old, cmp.Or(s.why, "replaced"))
		s.why = ""
	}
}

// settled notes when every slot does its work for the first time, and when a
// reload has reached them all.
func (m *Master) settled() {
	for _, s := range m.slots {
		if !s.retiring && !s.retired && (s.accepting() == nil || m.outdated(s)) {
			return
		}
	}
	if !m.started {
		m.started = true
		m.log.Info("ready", "slots", len(m.slots))
	}
	if m.rolling {
		m.rolling, m.setback = false, ""
		m.reloads++
		m.log.Info("reloaded", "release", m.release, "pid", os.Getpid())
	}
	if m.reload == nil {
		m.tellReady()
	}
}
