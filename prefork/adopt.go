package prefork

import (
	"cmp"
	"slices"
)

// arrange steers new connections to the slots that accept, and finds for the
// socket of each other slot a process that accepts from it meanwhile. It is
// called after every change, and does something only where something has
// changed.
func (m *Master) arrange() {
	if m.stopping != "" || m.shared {
		return
	}
	var live []*process
	for _, s := range m.group {
		p := s.accepting()
		if s.adopter != nil && (p != nil || s.adopter.state != Live) {
			// What is steered to s while its adopter has not heard yet would be
			// taken from it, so it has to wait for the next round, at most
			// examineEvery from now.
			m.disown(s)
		} else if p != nil && !s.retiring {
			live = append(live, p)
		}
	}
	if len(live) == 0 {
		return // nobody to steer to; connections wait in the sockets
	}
	m.steer(live)
	for _, s := range m.group {
		if s.accepting() == nil && s.adopter == nil {
			m.adopt(s, live)
		}
	}
}

// steer attaches a program for the live slots unless it is the one that is.
func (m *Master) steer(live []*process) {
	held := make([]int, len(live))
	for i, p := range live {
		held[i] = p.connections() + m.queue(p.slot)
	}
	m.uneven = slices.Max(held)-slices.Min(held) > evenEnough
	shares := make([]share, len(live))
	for i, weight := range weigh(held, m.expected()) {
		shares[i] = share{slices.Index(m.group, live[i].slot), weight}
	}
	if slices.Equal(shares, m.shares) {
		return
	}
	if err := m.sys.steer(m.group[0].listener, shares); err != nil && !m.unsteered {
		m.unsteered = true
		m.log.Warn("cannot steer connections; the kernel spreads them", "error", err)
	}
	if !slices.EqualFunc(shares, m.shares, func(a, b share) bool { return a.index == b.index }) {
		m.log.Debug("connections steered", "slots", names(live), "held", held)
	}
	m.shares = shares
}

// expected guesses how many connections come before the weights can change
// again: those that leaving processes still hold, whose clients come back, else
// as many as came between the last two looks.
func (m *Master) expected() (n int) {
	for _, s := range m.group {
		for _, p := range s.leaving {
			n += p.connections()
		}
	}
	return cmp.Or(n, m.arrivals)
}

func names(live []*process) []string {
	names := make([]string, len(live))
	for i, p := range live {
		names[i] = p.slot.name()
	}
	return names
}

// connections is how many the process holds open.
func (p *process) connections() int { return int(p.lane.Connections.Load()) }

// adopt lets the live process that holds the fewest connections accept from
// s's socket too.
func (m *Master) adopt(s *slot, live []*process) {
	adopter := slices.MinFunc(live, func(a, b *process) int { return a.connections() - b.connections() })
	if err := adopter.control.Send(adoptMessage+s.name(), s.listener); err != nil {
		m.log.Debug("adoption failed, will be tried again", "slot", s.name(), "adopter", adopter.slot.name(), "error", err)
		return
	}
	m.log.Debug("socket adopted", "slot", s.name(), "adopter", adopter.slot.name())
	s.adopter = adopter
}

// disown ends what adopt began.
func (m *Master) disown(s *slot) {
	if s.adopter != nil {
		// A process that cannot be told goes on accepting, which harms nobody.
		_ = s.adopter.control.Send(releaseMessage+s.name(), -1)
	}
	s.adopter = nil
}
