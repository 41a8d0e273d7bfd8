package prefork

import "time"

// stop drains all children. A second call kills them.
func (m *Master) stop(why string) {
	if m.stopping != "" {
		m.log.Warn("second signal, killing all children", "signal", why)
		for p := range m.slots.processes() {
			m.supervisor.kill(p, "second "+why)
		}
		return
	}
	m.stopping = why
	m.log.Info("stopping", "reason", why, "grace", m.opt.Grace)
	m.notifier.stopping()
	m.reloader.stop()
	// The children close their copies of the sockets when they start to drain. After that
	// the kernel refuses new connections, and a load balancer uses another server.
	m.sockets.closeAll(m.slots.all)
	for _, s := range m.slots.all {
		s.removing, s.removed, s.startAt = false, true, time.Time{}
		for p := range s.processes() {
			if p.state != StateLeaving {
				m.supervisor.drain(p, why)
			}
		}
	}
}
