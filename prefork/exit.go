package prefork

import (
	"fmt"
	"slices"
	"syscall"
	"time"
)

// reap takes every child that has exited, and strangers too if the master is
// PID 1.
func (m *Master) reap() {
	for {
		pid, status, ok := m.sys.wait()
		if !ok {
			return
		}
		m.exited(pid, status)
	}
}

// exited takes the end of a process.
func (m *Master) exited(pid int, status syscall.WaitStatus) {
	if p := m.slots.process(pid); p != nil {
		m.gone(p, reason(status))
		return
	}
	if m.reload != nil && m.reload.trial != nil && m.reload.trial.pid == pid {
		m.tried(status)
		return
	}
	m.log.Debug("reaped a stranger", "pid", pid, "reason", reason(status))
}

// gone takes the end of a slot's process.
func (m *Master) gone(p *process, why string) {
	if p.doom != "" {
		why = fmt.Sprintf("%s (%s)", p.doom, why)
	}
	_ = p.control.Close()
	p.slot.page.vacate(p.lane)
	m.keepReport(p)
	p.state = Stopped // it adopts nothing, and what it said last is no news
	if i := slices.Index(p.slot.leaving, p); i < 0 {
		m.died(p, why)
	} else {
		p.slot.leaving = slices.Delete(p.slot.leaving, i, i+1)
		p.slot.lastExit = why
		m.log.Info("child stopped", "slot", p.slot.name(), "pid", p.pid, "reason", why)
	}
	if m.reload != nil && m.reload.canary == p { // it had become current, or was told to leave
		m.failReload(fmt.Sprintf("%s of the new release: %s", p.slot.name(), why))
	}
}

// died takes the end of a process that was not asked to leave, and says when
// the slot gets the next one.
func (m *Master) died(p *process, why string) {
	s, now := p.slot, m.sys.now()
	s.lastExit = why
	delay := s.deaths.add(now, m.opt.Backoff)
	attrs := []any{"slot", s.name(), "pid", p.pid, "reason", why}
	if p == s.next {
		s.next = nil
		m.log.Warn("replacement died, the old process serves on", append(attrs, "next_attempt_in", delay.Round(time.Millisecond))...)
		s.again = now.Add(delay)
		m.replacementFailed(p, why)
		return
	}
	s.current = nil
	s.restarts++
	if s.next != nil {
		// Its successor is on its way.
		m.log.Warn("child died", attrs...)
		s.current, s.next = s.next, nil
		return
	}
	if s.retiring {
		m.log.Warn("child died", attrs...)
		return
	}
	delay = min(delay, m.patience(s.role, now))
	m.log.Warn("child died", append(attrs, "restart_in", delay.Round(time.Millisecond))...)
	s.again = now.Add(delay)
}

// desperate is how often a role of which nothing lives starts a process,
// whatever the backoff of its slots: nobody is spared by waiting longer.
const desperate = 250 * time.Millisecond

// patience is how long a slot may be left without a process: as long as it
// likes while another one of its role lives, or is about to.
func (m *Master) patience(role string, now time.Time) time.Duration {
	last := time.Time{}
	for _, s := range m.slots.all {
		if s.role != role {
			continue
		}
		if s.current != nil {
			return time.Hour
		}
		if s.started.After(last) {
			last = s.started
		}
	}
	return max(last.Add(desperate).Sub(now), 0)
}

// expire acts on every process and slot whose time is up.
func (m *Master) expire() {
	now := m.sys.now()
	for p := range m.slots.processes() {
		switch late := now.Sub(p.deadline); {
		case p.deadline.IsZero() || late < 0:
		case late > pausedAfter: // the master itself was stopped; what it was told meanwhile comes first
			p.deadline = now.Add(pausedAfter)
		default:
			p.deadline = time.Time{}
			m.overdue(p)
		}
	}
	for _, s := range m.slots.all {
		if s.current == nil && !s.again.IsZero() && !now.Before(s.again) {
			m.start(s, m.self())
		}
	}
	m.expireTrial(now)
}

// overdue acts on a process that should have left its state by now.
func (m *Master) overdue(p *process) {
	switch {
	case p.quit:
		m.kill(p, p.doom)
	case p.state == Booting:
		m.kill(p, fmt.Sprintf("not ready within %v", m.opt.BootTimeout))
	case p.state == Leaving:
		m.quit(p, fmt.Sprintf("%s, not gone within %v", p.doom, m.opt.Grace))
	}
}

// leave lets a process finish its work: TERM, then within the grace time QUIT,
// then KILL.
func (m *Master) leave(p *process, why string) {
	s := p.slot
	if s.current == p {
		s.current = nil
	}
	if s.next == p {
		s.next = nil
	}
	s.leaving = append(s.leaving, p)
	if p.quit { // hung: it is on its way out already
		p.state = Leaving
		return
	}
	m.log.Debug("child leaves", "slot", s.name(), "pid", p.pid, "reason", why)
	p.doom = why
	p.enter(Leaving, m.sys.now(), m.opt.Grace)
	_ = m.sys.kill(p.pid, syscall.SIGTERM)
}

// quit makes a process print its goroutines; KILL follows.
func (m *Master) quit(p *process, why string) {
	m.log.Error("child is made to print its goroutines", "slot", p.slot.name(), "pid", p.pid, "reason", why)
	p.doom, p.quit = why, true
	p.deadline = m.sys.now().Add(lastWords)
	_ = m.sys.kill(p.pid, syscall.SIGQUIT)
}

// kill ends a process; its exit does the rest.
func (m *Master) kill(p *process, why string) {
	m.log.Error("killing child", "slot", p.slot.name(), "pid", p.pid, "reason", why)
	p.doom = why
	_ = m.sys.kill(p.pid, syscall.SIGKILL)
}
