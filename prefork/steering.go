package prefork

import (
	"cmp"
	"log/slog"
	"slices"
	"time"
)

// steering distributes new connections among the slots. A BPF program distributes them
// among the sockets of live slots, by weight. The socket of a slot that is not live is
// adopted: a live process of another slot accepts from it.
type steering struct {
	sys     *system
	log     *slog.Logger
	sockets *sockets

	attached    []socketWeight // weights in the attached program
	refused     bool           // the kernel has refused a program, and a warning was logged
	accepted    int64          // connections accepted before the last observation, by all slots
	arrivals    int            // connections accepted between the last two observations
	lastArrival time.Time      // time of the last observation with arrivals
	uneven      bool           // the numbers of connections of the slots differ by more than unevenAbove
}

// observe counts the connections that were accepted since the last call, and returns the
// time until the weights must be computed again. See checkInterval.
func (t *steering) observe(now time.Time) time.Duration {
	var accepted int64
	for _, s := range t.sockets.group {
		own, adopted := s.page.acceptedTotals()
		accepted += own + adopted
	}
	// When a slot is removed, the sum decreases, and this observation is too low.
	t.arrivals, t.accepted = int(max(accepted-t.accepted, 0)), accepted
	if t.arrivals > 0 {
		t.lastArrival = now
	}
	switch {
	case t.uneven && t.arrivals > 0:
		return unevenInterval
	case t.uneven || now.Sub(t.lastArrival) < idleAfter:
		return checkInterval
	}
	return idleInterval
}

// expect notes that a connection has arrived, which may not be accepted yet.
func (t *steering) expect(now time.Time) { t.lastArrival = now }

// reset excludes the connections accepted so far from the next observation.
func (t *steering) reset() {
	t.observe(time.Time{})
	t.arrivals, t.lastArrival = 0, time.Time{}
}

// update steers new connections to the live slots, and finds an adopter for the socket
// of each other slot. The loop of Run calls it after every event. update does nothing if
// no slot has changed.
func (t *steering) update() {
	var live []*process
	for _, s := range t.sockets.group {
		p := s.liveProcess()
		if s.adopter != nil && (p != nil || s.adopter.state != StateLive) {
			// The adopter may still accept from the socket of s for a moment.
			// Therefore s gets new connections only after the next update, which
			// follows within idleInterval.
			t.endAdoption(s)
		} else if p != nil && !s.removing {
			live = append(live, p)
		}
	}
	if len(live) == 0 {
		return // connections stay in the accept queues
	}
	t.attach(live)
	for _, s := range t.sockets.group {
		if s.liveProcess() == nil && s.adopter == nil {
			t.adopt(s, live)
		}
	}
}

// attach attaches a program with the present weights of the live processes, unless the
// same program is attached already.
func (t *steering) attach(live []*process) {
	held := make([]int, len(live))
	for i, p := range live {
		held[i] = p.connections() + t.sockets.acceptQueue(p.slot)
	}
	t.uneven = slices.Max(held)-slices.Min(held) > unevenAbove
	weights := make([]socketWeight, len(live))
	for i, weight := range connectionWeights(held, t.expected()) {
		weights[i] = socketWeight{slices.Index(t.sockets.group, live[i].slot), weight}
	}
	if slices.Equal(weights, t.attached) {
		return
	}
	if err := t.sys.attachSteering(t.sockets.group[0].listener, weights); err != nil && !t.refused {
		t.refused = true
		t.log.Warn("cannot attach a BPF program, the kernel distributes connections evenly among all slots", "error", err)
	}
	if !slices.EqualFunc(weights, t.attached, func(a, b socketWeight) bool { return a.index == b.index }) {
		t.log.Debug("connections steered", "slots", slotNames(live), "held", held)
	}
	t.attached = weights
}

// expected estimates the number of connections that arrive before the weights can change
// again. While processes drain, this is the number of their connections, because their
// clients reconnect. Otherwise it is the number of arrivals between the last two
// observations.
func (t *steering) expected() (n int) {
	for _, s := range t.sockets.group {
		for _, p := range s.leaving {
			n += p.connections()
		}
	}
	return cmp.Or(n, t.arrivals)
}

func slotNames(live []*process) []string {
	names := make([]string, len(live))
	for i, p := range live {
		names[i] = p.slot.name()
	}
	return names
}

// connections returns the number of open connections of the process.
func (p *process) connections() int { return int(p.counters.Connections.Load()) }

// adopt makes the live process with the fewest connections accept from the socket of s.
func (t *steering) adopt(s *slot, live []*process) {
	adopter := slices.MinFunc(live, func(a, b *process) int { return a.connections() - b.connections() })
	if err := adopter.control.Send(adoptMessage+s.name(), s.listener); err != nil {
		t.log.Debug("cannot pass a socket to its adopter, trying again", "slot", s.name(), "adopter", adopter.slot.name(), "error", err)
		return
	}
	t.log.Debug("socket adopted", "slot", s.name(), "adopter", adopter.slot.name())
	s.adopter = adopter
}

// endAdoption ends an adoption.
func (t *steering) endAdoption(s *slot) {
	if s.adopter != nil {
		// If the message is lost, the adopter continues to accept, which does no
		// harm.
		_ = s.adopter.control.Send(releaseMessage+s.name(), -1)
	}
	s.adopter = nil
}
