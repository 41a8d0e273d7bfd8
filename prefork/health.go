package prefork

import (
	"fmt"
	"syscall"
	"time"
)

const (
	// examineEvery is how often the master looks at the scoreboard.
	examineEvery = 10 * time.Millisecond
	// stallAfter is how long connections may wait while not one is accepted
	// before new ones are steered elsewhere. It costs nothing if it was wrong.
	stallAfter = 100 * time.Millisecond
	// silentAfter is how many missed heartbeats say the same of an idle child.
	silentAfter = 3 * heartbeatEvery
	// lastWords is how long a hung child has to print its goroutines.
	lastWords = 2 * time.Second
)

// pulse is what the master has seen of a process's life signs.
type pulse struct {
	accepted int64     // connections, when it was last looked
	waiting  time.Time // since when connections wait and none is accepted; zero: not
	stalled  time.Time // when the trouble began for which the slot is, or was, stalled
	at       int64     // connections accepted by then
	deaf     bool      // the trouble was that it did not accept
}

// examine looks at every process that should be at work: does its heart beat,
// and are the connections in its socket accepted? A heartbeat alone would not
// do: its goroutine lives on while the others are deadlocked.
func (m *Master) examine() {
	now := m.sys.now()
	m.countArrivals()
	for _, s := range m.slots {
		if s.state != Live && s.state != Stalled {
			continue
		}
		since := m.troubled(s, now)
		switch {
		case s.state == Live && !since.IsZero():
			m.stall(s, now, since)
		case s.state == Stalled && since.IsZero() && m.revived(s):
			m.log.Info("child shows life", "slot", s.name(), "pid", s.pid, "after", now.Sub(s.since).Round(time.Millisecond))
			s.enter(Live, now, 0)
			s.pulse.waiting = time.Time{}
		}
		if s.state == Stalled && m.opt.HangTimeout > 0 && now.Sub(s.pulse.stalled) >= m.opt.HangTimeout {
			m.hang(s, now)
		}
	}
}

// countArrivals notes how many connections came since the last look; a process
// that is replaced takes its count along, which makes one look say too little.
func (m *Master) countArrivals() {
	var arrived int64
	for _, s := range m.group {
		arrived += s.page.arrived()
	}
	m.arrivals, m.arrived = int(max(arrived-m.arrived, 0)), arrived
}

// troubled returns since when a process shows no life; zero if it does.
func (m *Master) troubled(s *slot, now time.Time) time.Time {
	lane := s.page.lane(s.generation)
	if m.opt.HangTimeout > 0 {
		beat := time.Unix(0, lane.heartbeat.Load())
		if beat.Before(s.booted) {
			beat = s.booted // it was ready then, and may beat any moment
		}
		if now.Sub(beat) >= silentAfter {
			return beat
		}
	}
	if accepted := lane.accepted.Load(); accepted != s.pulse.accepted || m.queue(s) == 0 {
		s.pulse.accepted, s.pulse.waiting = accepted, time.Time{}
		return time.Time{}
	}
	if s.pulse.waiting.IsZero() {
		s.pulse.waiting = now
	}
	if now.Sub(s.pulse.waiting) >= stallAfter {
		return s.pulse.waiting
	}
	return time.Time{}
}

// revived reports whether the heart of a stalled process has beaten since. Its
// socket says nothing: a sibling empties it.
func (m *Master) revived(s *slot) bool {
	return s.page.lane(s.generation).heartbeat.Load() > s.since.UnixNano()
}

// stall takes a process out of steering. One that shows life but accepts
// nothing comes back, stalls again, and is the same trouble all along.
func (m *Master) stall(s *slot, now, since time.Time) {
	m.log.Warn("child stalled, connections go elsewhere", "slot", s.name(), "pid", s.pid, "accept_queue", m.queue(s))
	p := &s.pulse
	deaf := !p.waiting.IsZero() // else its heart stood still
	if again := deaf && p.deaf && p.accepted == p.at && now.Sub(s.since) < m.opt.HangTimeout; !again {
		p.stalled, p.at = since, p.accepted
	}
	p.deaf = deaf
	s.enter(Stalled, now, 0)
}

// queue is how many connections wait in the slot's socket.
func (m *Master) queue(s *slot) int {
	if s.listener < 0 {
		return 0
	}
	return m.sys.queue(s.listener)
}

// hang gives a process up: SIGQUIT, for its goroutines in the log, then
// SIGKILL; its exit brings the next one.
func (m *Master) hang(s *slot, now time.Time) {
	s.doom = fmt.Sprintf("hung for %v", now.Sub(s.pulse.stalled).Round(time.Millisecond))
	m.log.Error("child hung", "slot", s.name(), "pid", s.pid, "for", now.Sub(s.pulse.stalled).Round(time.Millisecond))
	s.enter(Hung, now, lastWords)
	_ = m.sys.kill(s.pid, syscall.SIGQUIT)
}
