package prefork

import (
	"cmp"
	"log/slog"
	"slices"
	"time"
)

// steering distributes new connections over the sockets of the group: by a BPF
// program with a weight for each slot that accepts, and by adoption, in which a
// live process accepts from the socket of a slot that does not.
type steering struct {
	sys     *system
	log     *slog.Logger
	sockets *sockets

	attached    []socketWeight // of the attached program
	refused     bool           // the kernel refused the program
	accepted    int64          // connections accepted before the last observation
	arrivals    int            // connections accepted between the last two
	lastArrival time.Time      // when one was last seen to arrive
	uneven      bool           // some slots hold many more connections than others
}

// observe counts the connections that have arrived since the last call, and
// returns when the weights need another look. The weights hold until then, so
// that is sooner while connections arrive at slots that hold different numbers
// of them, and later when none have arrived for a while.
func (t *steering) observe(now time.Time) time.Duration {
	var accepted int64
	for _, s := range t.sockets.group {
		own, adopted := s.page.acceptedTotals()
		accepted += own + adopted
	}
	// A slot that is removed takes its count along: one observation is too low.
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

// reset makes what has been accepted so far no burst.
func (t *steering) reset() {
	t.observe(time.Time{})
	t.arrivals, t.lastArrival = 0, time.Time{}
}

// update steers new connections to the slots that accept, and finds for the
// socket of each other slot a process that accepts from it meanwhile. It is
// called after every change, and does something only where something has
// changed.
func (t *steering) update() {
	var live []*process
	for _, s := range t.sockets.group {
		p := s.liveProcess()
		if s.adopter != nil && (p != nil || s.adopter.state != StateLive) {
			// The adopter may still accept what is steered to s, so s is
			// steered to from the next update on, at most checkInterval from now.
			t.endAdoption(s)
		} else if p != nil && !s.removing {
			live = append(live, p)
		}
	}
	if len(live) == 0 {
		return // connections wait in the sockets
	}
	t.attach(live)
	for _, s := range t.sockets.group {
		if s.liveProcess() == nil && s.adopter == nil {
			t.adopt(s, live)
		}
	}
}

// attach attaches a program for the live processes unless it is attached
// already.
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
		t.log.Warn("cannot steer connections, the kernel distributes them", "error", err)
	}
	if !slices.EqualFunc(weights, t.attached, func(a, b socketWeight) bool { return a.index == b.index }) {
		t.log.Debug("connections steered", "slots", slotNames(live), "held", held)
	}
	t.attached = weights
}

// expected estimates how many connections arrive before the weights can change
// again: those that leaving processes still hold, whose clients reconnect, else
// as many as arrived between the last two observations.
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

// connections is how many the process holds open.
func (p *process) connections() int { return int(p.counters.Connections.Load()) }

// adopt lets the live process that holds the fewest connections accept from
// the socket of s too.
func (t *steering) adopt(s *slot, live []*process) {
	adopter := slices.MinFunc(live, func(a, b *process) int { return a.connections() - b.connections() })
	if err := adopter.control.Send(adoptMessage+s.name(), s.listener); err != nil {
		t.log.Debug("adoption failed, trying again", "slot", s.name(), "adopter", adopter.slot.name(), "error", err)
		return
	}
	t.log.Debug("socket adopted", "slot", s.name(), "adopter", adopter.slot.name())
	s.adopter = adopter
}

// endAdoption ends an adoption.
func (t *steering) endAdoption(s *slot) {
	if s.adopter != nil {
		// A process that does not get the message goes on accepting, which
		// loses no connection.
		_ = s.adopter.control.Send(releaseMessage+s.name(), -1)
	}
	s.adopter = nil
}
