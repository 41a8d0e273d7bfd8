package prefork

import (
	"fmt"
	"time"
)

// apart is how long a process that leaves has to be gone before the next one
// leaves: its clients come back at once, and should find the new one emptier
// than the others. Longer it does not hold up a reload.
const apart = time.Second

// turn replaces a process that should leave by a new one, one at a time over
// all slots, and the new one is ready before the old one leaves. It is called
// after every change.
func (m *Master) turn() {
	if m.stopping != "" || m.reload != nil {
		return
	}
	now := m.sys.now()
	for _, s := range m.slots.all {
		if s.next != nil {
			return
		}
		for _, p := range s.leaving {
			if now.Sub(p.since) < apart {
				return
			}
		}
	}
	for _, s := range m.slots.all {
		if p := s.current; p != nil && (p.state == Live || p.state == Stalled) && m.outdated(s) && !s.retiring {
			// A release that does not start in one slot is not tried in others.
			if !now.Before(s.again) && len(s.leaving) < maxLeaving {
				m.replace(p, "reload")
			}
			return
		}
	}
	m.recycle(now)
}

// outdated reports whether the slot's process is of an earlier release, or has
// a share of the machine for which a reload has left too many slots or too few.
func (m *Master) outdated(s *slot) bool {
	return !s.keep && s.current != nil &&
		(s.current.release != m.release || m.rolling && s.current.share != m.supervisor.shareOfMachine(s.role))
}

// replace starts the successor of a process.
func (m *Master) replace(p *process, why string) {
	m.log.Info("replacing child", "slot", p.slot.name(), "pid", p.pid, "reason", why)
	p.slot.why = why
	if err := m.supervisor.start(p.slot, m.self()); err != nil {
		m.replacementFailed(p.slot, m.release, err.Error())
	}
}

// recycle replaces a process that has answered enough requests or holds too
// much memory. It waits until no other one leaves: this one is voluntary.
func (m *Master) recycle(now time.Time) {
	var worn *process
	for _, s := range m.slots.all {
		if len(s.leaving) > 0 {
			return
		}
		if p := s.accepting(); worn == nil && p != nil && !s.retiring && !now.Before(s.again) && m.worn(p) != "" {
			worn = p
		}
	}
	if worn != nil {
		m.replace(worn, m.worn(worn))
	}
}

// worn says why a process should be replaced; empty: it need not.
func (m *Master) worn(p *process) string {
	if n := p.lane.Requests.Load(); p.maxRequests > 0 && n >= p.maxRequests {
		return fmt.Sprintf("%d requests answered", n)
	}
	if m.opt.MaxRSS > 0 && p.rss >= m.opt.MaxRSS {
		return fmt.Sprintf("%d MiB of resident memory", p.rss>>20)
	}
	return ""
}
