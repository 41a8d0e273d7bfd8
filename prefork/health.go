package prefork

import (
	"fmt"
	"time"
)

const (
	// examineEvery is how often the master looks at the scoreboard while
	// connections come in. Those that come between two looks go by the weights
	// of the first, so it looks more often when they come to slots that do not
	// hold about as many, up to evenEnough; and less often when none have come
	// for idleAfter.
	examineEvery = 10 * time.Millisecond
	unevenEvery  = time.Millisecond
	idleEvery    = 50 * time.Millisecond
	idleAfter    = time.Second
	evenEnough   = 16
	// stallAfter is how long connections may wait while not one is accepted
	// before new ones are steered elsewhere. It costs nothing if it was wrong.
	stallAfter = 100 * time.Millisecond
	// silentAfter is how long without a heartbeat says the same of an idle child.
	silentAfter = 3 * time.Second
	// pausedAfter is how long the master may not have looked before what it sees
	// says something about itself and not about others.
	pausedAfter = time.Second
	// lastWords is how long a hung child has to print its goroutines.
	lastWords = 2 * time.Second
)

// pulse is what the master has seen of a process's life signs.
type pulse struct {
	accepted int64     // connections, when it was last looked
	waiting  time.Time // since when connections wait and none is accepted; zero: not
	stalled  time.Time // when the trouble began for which the process is, or was, stalled
	at       int64     // connections accepted by then
	deaf     bool      // the trouble was that it did not accept
}

// examine looks at every process that should be at work: does its heart beat,
// and are the connections in its socket accepted? A heartbeat alone would not
// do: its goroutine lives on while the others are deadlocked. It returns when
// it wants to look again.
func (m *Master) examine() time.Duration {
	now := m.sys.now()
	m.oversleep(now)
	m.countArrivals()
	next := idleEvery
	if m.arrivals > 0 {
		m.busy = now
	}
	switch {
	case m.uneven && m.arrivals > 0:
		next = unevenEvery
	case m.uneven || now.Sub(m.busy) < idleAfter:
		next = examineEvery
	}
	for _, s := range m.slots.all {
		if s.retiring {
			m.retire(s, now)
			next = min(next, examineEvery)
		}
		p := s.current
		if p == nil || p.state != Live && p.state != Stalled {
			continue
		}
		m.examineProcess(p, now)
		if p.state != Live || !p.pulse.waiting.IsZero() {
			next = min(next, examineEvery)
		}
	}
	m.weighMemory(now)
	return next
}

func (m *Master) examineProcess(p *process, now time.Time) {
	since := m.troubled(p, now)
	switch {
	case p.state == Live && !since.IsZero():
		m.stall(p, now, since)
	case p.state == Stalled && since.IsZero() && p.revived():
		m.log.Info("child shows life", "slot", p.slot.name(), "pid", p.pid, "after", now.Sub(p.since).Round(time.Millisecond))
		p.enter(Live, now, 0)
		p.pulse.waiting = time.Time{}
		m.checkSettled()
	}
	if p.state == Stalled && m.opt.HangTimeout > 0 && now.Sub(p.pulse.stalled) >= m.opt.HangTimeout {
		m.hang(p, now)
	}
}

// countArrivals notes how many connections came since the last look; a slot that
// is removed takes its count along, which makes one look say too little.
func (m *Master) countArrivals() {
	var arrived int64
	for _, s := range m.group {
		own, adopted := s.page.arrived()
		arrived += own + adopted
	}
	m.arrivals, m.arrived = int(max(arrived-m.arrived, 0)), arrived
}

// troubled returns since when a process shows no life; zero if it does.
func (m *Master) troubled(p *process, now time.Time) time.Time {
	if m.opt.HangTimeout > 0 {
		beat := time.Unix(0, p.lane.heartbeat.Load())
		if beat.Before(p.booted) {
			beat = p.booted // it was ready then, and may beat any moment
		}
		if now.Sub(beat) >= silentAfter {
			return beat
		}
	}
	if accepted := p.lane.accepted.Load(); accepted != p.pulse.accepted || m.queue(p.slot) == 0 {
		p.pulse.accepted, p.pulse.waiting = accepted, time.Time{}
		return time.Time{}
	}
	if p.pulse.waiting.IsZero() {
		p.pulse.waiting = now
	}
	if now.Sub(p.pulse.waiting) >= stallAfter {
		return p.pulse.waiting
	}
	return time.Time{}
}

// revived reports whether the heart of a stalled process has beaten since. Its
// socket says nothing: a sibling empties it.
func (p *process) revived() bool { return p.lane.heartbeat.Load() > p.since.UnixNano() }

// stall takes a process out of steering. One that shows life but accepts
// nothing comes back, stalls again, and is the same trouble all along.
func (m *Master) stall(p *process, now, since time.Time) {
	m.log.Warn("child stalled, connections go elsewhere", "slot", p.slot.name(), "pid", p.pid, "accept_queue", m.queue(p.slot))
	deaf := !p.pulse.waiting.IsZero() // else its heart stood still
	if again := deaf && p.pulse.deaf && p.pulse.accepted == p.pulse.at && now.Sub(p.since) < m.opt.HangTimeout; !again {
		p.pulse.stalled, p.pulse.at = since, p.pulse.accepted
	}
	p.pulse.deaf = deaf
	p.enter(Stalled, now, 0)
}

// queue is how many connections wait in the slot's own socket. That of a
// shared one says nothing about a single slot.
func (m *Master) queue(s *slot) int {
	if s.listener < 0 || m.shared {
		return 0
	}
	return m.sys.queue(s.listener)
}

// hang gives a process up: its exit brings the next one.
func (m *Master) hang(p *process, now time.Time) {
	silence := now.Sub(p.pulse.stalled).Round(time.Millisecond)
	m.log.Error("child hung", "slot", p.slot.name(), "pid", p.pid, "for", silence)
	p.slot.hangs++
	p.enter(Hung, now, 0)
	m.quit(p, fmt.Sprintf("hung for %v", silence))
}

// oversleep starts all observation afresh when the master has not looked for a
// while, or the clock was set: then the machine, the container or the process
// group was stopped, and silence says nothing.
func (m *Master) oversleep(now time.Time) {
	gap := now.Round(0).Sub(m.looked) // of the wall clock, which heartbeats are in
	if !m.looked.IsZero() && gap.Abs() > pausedAfter {
		for p := range m.slots.processes() {
			p.booted = now
			p.pulse = pulse{accepted: p.pulse.accepted, stalled: now}
		}
	}
	m.looked = now.Round(0)
}
