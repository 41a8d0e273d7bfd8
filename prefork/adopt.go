package prefork

import (
	"slices"
)

// arrange steers new connections to the live slots, and finds for the socket
// of each other slot a live one that accepts from it meanwhile. It is called
// after every change, and does something only where something has changed.
func (m *Master) arrange() {
	if m.stopping != "" {
		return
	}
	var live []*slot
	for _, s := range m.group {
		if s.adopter != nil && (s.state == Live || s.adopter.state != Live) {
			// What is steered to s while its adopter has not heard yet would be
			// taken from it, so it has to wait for the next round, at most
			// examineEvery from now.
			m.release(s)
		} else if s.state == Live {
			live = append(live, s)
		}
	}
	if len(live) == 0 {
		return // nobody to steer to; connections wait in the sockets
	}
	m.steer(live)
	for _, s := range m.group {
		if s.state != Live && s.adopter == nil {
			m.adopt(s, live)
		}
	}
}

// steer attaches a program for the live slots unless it is the one that is.
func (m *Master) steer(live []*slot) {
	if len(m.group) < 2 {
		return
	}
	held := make([]int, len(live))
	for i, s := range live {
		held[i] = s.page.connections()
	}
	shares := make([]share, len(live))
	for i, weight := range weigh(held, m.arrivals) {
		shares[i] = share{live[i].index, weight}
	}
	if slices.Equal(shares, m.shares) {
		return
	}
	if err := m.sys.steer(m.group[0].listener, shares); err != nil {
		m.log.Warn("cannot steer connections; the kernel spreads them", "error", err)
	}
	if !slices.EqualFunc(shares, m.shares, func(a, b share) bool { return a.index == b.index }) {
		m.log.Debug("connections steered", "slots", names(live), "held", held)
	}
	m.shares = shares
}

func names(slots []*slot) []string {
	names := make([]string, len(slots))
	for i, s := range slots {
		names[i] = s.name()
	}
	return names
}

// adopt lets the live slot that holds the fewest connections accept from s's
// socket too.
func (m *Master) adopt(s *slot, live []*slot) {
	adopter := slices.MinFunc(live, func(a, b *slot) int { return a.page.connections() - b.page.connections() })
	if err := adopter.control.Send(adoptMessage+s.name(), s.listener); err != nil {
		m.log.Debug("adoption failed, will be tried again", "slot", s.name(), "adopter", adopter.name(), "error", err)
		return
	}
	m.log.Debug("socket adopted", "slot", s.name(), "adopter", adopter.name())
	s.adopter = adopter
}

// release ends what adopt began.
func (m *Master) release(s *slot) {
	if s.adopter.control != nil {
		// A child that cannot be told goes on accepting, which harms nobody.
		_ = s.adopter.control.Send(releaseMessage+s.name(), -1)
	}
	s.adopter = nil
}
