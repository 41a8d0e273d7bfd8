package prefork

import "time"

// stop lets every child leave: TERM now, QUIT and KILL when the grace time is
// over. A second call, a second signal, kills at once.
func (m *Master) stop(why string) {
	if m.stopping != "" {
		m.log.Warn("stopping at once", "signal", why)
		for p := range m.slots.processes() {
			m.supervisor.kill(p, "second "+why)
		}
		return
	}
	m.stopping = why
	m.log.Info("stopping", "reason", why, "grace", m.opt.Grace)
	m.notifier.stopping()
	m.reloader.stop()
	// The children hold copies and close them as they begin to drain: from then
	// on new connections are refused and a balancer goes elsewhere.
	m.sockets.closeAll(m.slots.all)
	for _, s := range m.slots.all {
		s.retiring, s.retired, s.again = false, true, time.Time{}
		for p := range s.processes() {
			if p.state != Leaving {
				m.supervisor.leave(p, why)
			}
		}
	}
}
