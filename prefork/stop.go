package prefork

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// stop lets every child leave: TERM now, KILL when the grace time is over. A
// second call, a second signal, kills at once.
func (m *Master) stop(why string) {
	if m.stopping != "" {
		m.log.Warn("stopping at once", "signal", why)
		for _, s := range m.slots {
			if s.pid != 0 {
				m.doom(s, "second "+why)
			}
		}
		return
	}
	m.stopping = why
	m.log.Info("stopping", "reason", why, "grace", m.opt.Grace)
	for _, s := range m.slots {
		// The children hold copies and close them as they begin to drain: from
		// then on new connections are refused and a balancer goes elsewhere.
		if s.listener >= 0 {
			_ = unix.Close(s.listener)
			s.listener = -1
		}
		if s.pid == 0 {
			s.enter(Stopped, m.sys.now(), 0)
			continue
		}
		s.enter(Leaving, m.sys.now(), m.opt.Grace)
		_ = m.sys.kill(s.pid, syscall.SIGTERM)
	}
}
