package prefork

import (
	"cmp"
	"os"
	"syscall"
)

// handleMessage handles a message from a child.
func (m *Master) handleMessage(msg message) {
	p := msg.process
	if !m.supervisor.markReady(msg) {
		return
	}
	switch {
	case m.reloader.isCanary(p):
		m.reloader.nextCanary()
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
		m.supervisor.drain(old, cmp.Or(s.replaceReason, "replaced"))
		s.replaceReason = ""
	}
}

// checkSettled checks whether every slot is live and of the running release. The
// first time that makes the server ready, and later it ends a reload.
func (m *Master) checkSettled() {
	for _, s := range m.slots.all {
		if !s.removing && !s.removed && (s.liveProcess() == nil || m.rollout.outdated(s)) {
			return
		}
	}
	if !m.started {
		m.started = true
		m.log.Info("ready", "slots", len(m.slots.all))
	}
	if m.rollout.finish() {
		m.log.Info("reloaded", "release", m.supervisor.release.number, "pid", os.Getpid())
	}
	if !m.reloader.active() {
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

// handleExit handles the end of a process.
func (m *Master) handleExit(pid int, status syscall.WaitStatus) {
	if p := m.slots.process(pid); p != nil {
		m.handleChildExit(p, describeExit(status))
		return
	}
	if !m.reloader.handleExit(pid, status) {
		m.log.Debug("reaped unknown process", "pid", pid, "reason", describeExit(status))
	}
}

func (m *Master) handleChildExit(p *process, why string) {
	successor := p == p.slot.next
	why = m.supervisor.handleExit(p, why)
	if !m.reloader.handleChildExit(p, successor, why) && successor {
		m.handleSuccessorFailure(p.slot, why)
	}
}

// handleSuccessorFailure handles the failure of a process that was to replace another
// one. The rollout tries again.
func (m *Master) handleSuccessorFailure(s *slot, why string) {
	if m.rollout.recordFailure(s, why) {
		m.notifyReady() // systemctl reload must not wait for the next attempt
	}
}

// continueRollingReplace replaces the next process that should be, if it is
// time.
func (m *Master) continueRollingReplace() {
	if m.stopping != "" || m.reloader.active() {
		return
	}
	if s, err := m.rollout.step(m.sys.now()); err != nil {
		m.handleSuccessorFailure(s, err.Error())
	}
}

// expire acts on deadlines that have passed.
func (m *Master) expire() {
	now := m.sys.now()
	m.supervisor.expire(now)
	m.reloader.expire(now)
}

// removeStopped removes slots whose last process is gone.
func (m *Master) removeStopped() {
	if m.stopping != "" {
		return
	}
	removed := m.slots.removeStopped()
	for _, name := range removed {
		m.log.Info("slot removed", "slot", name)
	}
	if len(removed) > 0 {
		m.checkSettled() // the server may be ready without them
	}
}
