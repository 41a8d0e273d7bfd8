package prefork

import (
	"cmp"
	"os"
	"syscall"
)

// handleMessage handles a message from a child. The only message is "ready".
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
	m.checkReady()
}

// promote makes the successor in a slot its current process, and drains the old
// process.
func (m *Master) promote(s *slot) {
	old := s.current
	s.current, s.next = s.next, nil
	if old != nil {
		m.steering.update() // before the clients of the old process reconnect
		m.supervisor.drain(old, cmp.Or(s.replaceReason, "replaced"))
		s.replaceReason = ""
	}
}

// checkReady checks whether every slot has a live process of the running release. Slots of
// optional roles need none, but they must not have one of another release. The first time
// that this is so, the server is ready. After a reload it means that the reload is
// complete.
func (m *Master) checkReady() {
	for _, s := range m.slots.all {
		if !s.removing && !s.removed && (!s.optional && s.liveProcess() == nil || m.rollout.outdated(s)) {
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

// reap collects the exit status of all processes that have exited (waitpid(2)).
// They are children and, if the master is PID 1, also orphans of other processes.
func (m *Master) reap() {
	for {
		pid, status, ok := m.sys.wait()
		if !ok {
			return
		}
		m.handleExit(pid, status)
	}
}

// handleExit handles the exit of any process.
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

// handleSuccessorFailure handles the exit of a successor that has not become ready.
// The rollout tries again later.
func (m *Master) handleSuccessorFailure(s *slot, why string) {
	if m.rollout.recordFailure(s, why) {
		m.notifyReady() // so that systemctl reload does not wait for the next attempt
	}
}

// continueRollingReplace replaces the next process that is outdated or has reached a limit,
// unless another replacement is under way.
func (m *Master) continueRollingReplace() {
	if m.stopping != "" || m.reloader.active() {
		return
	}
	if s, err := m.rollout.step(m.sys.now()); err != nil {
		m.handleSuccessorFailure(s, err.Error())
	}
}

// expire handles the deadlines that have passed.
func (m *Master) expire() {
	now := m.sys.now()
	m.supervisor.expire(now)
	m.reloader.expire(now)
}

// removeStopped removes the slots in the state stopped.
func (m *Master) removeStopped() {
	if m.stopping != "" {
		return
	}
	removed := m.slots.removeStopped()
	for _, name := range removed {
		m.log.Info("slot removed", "slot", name)
	}
	if len(removed) > 0 {
		m.checkReady() // all slots that remain may be ready
	}
}
