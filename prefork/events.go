package prefork

import (
	"cmp"
	"fmt"
	"os"
	"syscall"
)

// handleMessage takes what a child said.
func (m *Master) handleMessage(msg message) {
	p := msg.process
	if !m.supervisor.markReady(msg) {
		return
	}
	switch {
	case m.reload != nil && p == m.reload.canary:
		m.nextCanary()
	case p == p.slot.next:
		m.promote(p.slot)
	}
	m.checkSettled()
}

// promote makes a slot's next process its current one; the old one leaves.
func (m *Master) promote(s *slot) {
	old := s.current
	s.current, s.next = s.next, nil
	if old != nil {
		m.steering.update() // before its clients reconnect
		m.supervisor.leave(old, cmp.Or(s.why, "replaced"))
		s.why = ""
	}
}

// checkSettled notes when every slot does its work for the first time, and when a
// reload has reached them all.
func (m *Master) checkSettled() {
	for _, s := range m.slots.all {
		if !s.retiring && !s.retired && (s.accepting() == nil || m.outdated(s)) {
			return
		}
	}
	if !m.started {
		m.started = true
		m.log.Info("ready", "slots", len(m.slots.all))
	}
	if m.rolling {
		m.rolling, m.setback = false, ""
		m.reloads++
		m.log.Info("reloaded", "release", m.release, "pid", os.Getpid())
	}
	if m.reload == nil {
		m.notifyReady()
	}
}

// reap takes every child that has exited, and unknown processes too if the
// master is PID 1.
func (m *Master) reap() {
	for {
		pid, status, ok := m.sys.wait()
		if !ok {
			return
		}
		m.handleExit(pid, status)
	}
}

// handleExit takes the end of a process.
func (m *Master) handleExit(pid int, status syscall.WaitStatus) {
	if p := m.slots.process(pid); p != nil {
		m.handleChildExit(p, reason(status))
		return
	}
	if m.reload != nil && m.reload.trial != nil && m.reload.trial.pid == pid {
		m.tried(status)
		return
	}
	m.log.Debug("reaped unknown process", "pid", pid, "reason", reason(status))
}

func (m *Master) handleChildExit(p *process, why string) {
	successor := p == p.slot.next
	why = m.supervisor.gone(p, why)
	if successor {
		m.replacementFailed(p.slot, p.release, why)
	}
	if m.reload != nil && m.reload.canary == p { // it had become current, or was asked to leave
		m.failReload(fmt.Sprintf("%s of the new release: %s", p.slot.name(), why))
	}
}

// expire acts on what has not happened in time.
func (m *Master) expire() {
	now := m.sys.now()
	m.supervisor.expire(now, m.self())
	m.expireTrial(now)
}

// self is the release of the running master.
func (m *Master) self() release { return release{m.release, ownBinary, m.opt.Config} }
