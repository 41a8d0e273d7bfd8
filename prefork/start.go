package prefork

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// start gives a slot a process.
func (m *Master) start(s *slot) {
	generation := s.generation + 1
	lane := s.page.lane(generation)
	lane.clear()
	pid, ctl, err := m.sys.spawn(command{
		argv0:    m.opt.Program + ": " + s.name(),
		env:      m.environ(s, generation),
		config:   m.opt.Config,
		page:     s.page.fd,
		listener: s.listener,
	})
	if err != nil {
		// Out of processes, memory or files: for the slot as good as a death.
		m.died(s, err.Error())
		return
	}
	lane.pid.Store(int64(pid))
	s.pid, s.control, s.generation, s.doom, s.pulse = pid, ctl, generation, "", pulse{}
	s.enter(Booting, m.sys.now(), m.opt.BootTimeout)
	m.log.Debug("child started", "slot", s.name(), "pid", pid, "generation", generation)
	go m.listen(s, generation, ctl) // ends when ctl is closed: reap does that
}

// listen turns what a child says into events. End of file says nothing: the
// process's exit is what counts, and SIGCHLD tells it.
func (m *Master) listen(s *slot, generation int, ctl control) {
	buf := make([]byte, 256)
	for {
		n, err := ctl.Read(buf)
		if err != nil || n == 0 {
			return
		}
		select {
		case m.messages <- message{s, generation, string(buf[:n])}:
		case <-m.ended:
			return
		}
	}
}

// environ is a child's environment: the master's without what was meant for
// the master alone.
func (m *Master) environ(s *slot, generation int) []string {
	own := []string{
		EnvSlot + "=" + s.name(),
		EnvGeneration + "=" + strconv.Itoa(generation),
		EnvInstance + "=" + m.instance,
	}
	return append(slices.DeleteFunc(slices.Clone(m.opt.Environ), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		switch name {
		case EnvSlot, EnvGeneration, EnvInstance, "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "NOTIFY_SOCKET":
			return true
		}
		return false
	}), own...)
}

// reap takes every child that has exited, and strangers too if the master is
// PID 1.
func (m *Master) reap() {
	for {
		pid, status, ok := m.sys.wait()
		if !ok {
			return
		}
		i := slices.IndexFunc(m.slots, func(s *slot) bool { return s.pid == pid })
		if i < 0 {
			m.log.Debug("reaped a stranger", "pid", pid, "reason", reason(status))
			continue
		}
		m.exited(m.slots[i], reason(status))
	}
}

// exited takes the end of a slot's process.
func (m *Master) exited(s *slot, why string) {
	if s.doom != "" {
		why = fmt.Sprintf("%s (%s)", s.doom, why)
	}
	_ = s.control.Close()
	s.page.lane(s.generation).vacate()
	if m.stopping != "" {
		m.log.Info("child stopped", "slot", s.name(), "pid", s.pid, "reason", why)
		s.pid, s.lastExit = 0, why
		s.enter(Stopped, m.sys.now(), 0)
		return
	}
	m.died(s, why)
}

// died schedules the next process of a slot whose last one ended by itself.
func (m *Master) died(s *slot, why string) {
	now := m.sys.now()
	delay := s.deaths.add(now, m.opt.Backoff)
	m.log.Warn("child died", "slot", s.name(), "pid", s.pid, "reason", why, "restart_in", delay.Round(time.Millisecond))
	s.pid, s.lastExit = 0, why
	s.restarts++
	s.enter(Waiting, now, max(delay, time.Nanosecond))
}

// expire acts on every slot whose time is up.
func (m *Master) expire() {
	now := m.sys.now()
	for _, s := range m.slots {
		if s.deadline.IsZero() || now.Before(s.deadline) {
			continue
		}
		s.deadline = time.Time{}
		switch s.state {
		case Waiting:
			m.start(s)
		case Hung:
			m.doom(s, s.doom)
		case Booting:
			m.doom(s, fmt.Sprintf("not ready within %v", m.opt.BootTimeout))
		case Leaving:
			m.doom(s, fmt.Sprintf("not gone within %v", m.opt.Grace))
		}
	}
}

// doom kills a slot's process; its exit does the rest.
func (m *Master) doom(s *slot, why string) {
	m.log.Error("killing child", "slot", s.name(), "pid", s.pid, "reason", why)
	s.doom = why
	_ = m.sys.kill(s.pid, syscall.SIGKILL)
}
