package prefork

import (
	"fmt"
	"log/slog"
	"time"
)

const (
	// examineEvery is how often the master reads the scoreboard while
	// connections arrive. Weights hold from one reading to the next, so it reads
	// more often while slots hold numbers of connections that differ by more than
	// evenEnough, and less often when none has arrived for idleAfter.
	examineEvery = 10 * time.Millisecond
	unevenEvery  = time.Millisecond
	idleEvery    = 50 * time.Millisecond
	idleAfter    = time.Second
	evenEnough   = 16
	// stallAfter is how long connections may wait while none is accepted before
	// new ones are steered to other slots. A false alarm loses nothing.
	stallAfter = 100 * time.Millisecond
	// silentAfter is how long a child may be without a heartbeat before it counts
	// as stalled too.
	silentAfter = 3 * time.Second
	// pausedAfter is the gap between two readings from which on the master assumes
	// that it was stopped itself.
	pausedAfter = time.Second
	// dumpTime is how long a child has to print its goroutines after QUIT.
	dumpTime = 2 * time.Second
)

// pulse is what the monitor has seen of a process.
type pulse struct {
	accepted        int64     // connections, when it was last looked
	waiting         time.Time // since when connections wait and none is accepted; zero: not
	stalled         time.Time // since when the process is, or was, stalled
	stalledAccepted int64     // connections accepted by then
	notAccepting    bool      // it did not accept; else the heartbeat was missing
}

// monitor watches the processes that should be at work: does the heartbeat go
// on, and are the connections in the socket accepted? A heartbeat alone is not
// enough: its goroutine lives on while the others are deadlocked.
type monitor struct {
	sys         *system
	log         *slog.Logger
	slots       *slotTable
	sockets     *sockets
	hangTimeout time.Duration
	maxRSS      int64
	quit        func(p *process, why string)

	lastExamined time.Time // by the wall clock
	lastWeighed  time.Time
}

// examine checks every current process. It reports whether one has recovered,
// and when to check again.
func (m *monitor) examine(now time.Time) (recovered bool, next time.Duration) {
	next = idleEvery
	m.forgetAfterPause(now)
	for _, s := range m.slots.all {
		p := s.current
		if p == nil || p.state != StateLive && p.state != StateStalled {
			continue
		}
		if m.examineProcess(p, now) {
			recovered = true
		}
		if p.state != StateLive || !p.pulse.waiting.IsZero() {
			next = min(next, examineEvery)
		}
	}
	m.weighMemory(now)
	return recovered, next
}

func (m *monitor) examineProcess(p *process, now time.Time) (recovered bool) {
	since := m.stalledSince(p, now)
	switch {
	case p.state == StateLive && !since.IsZero():
		m.stall(p, now, since)
	case p.state == StateStalled && since.IsZero() && p.heartbeatSinceStall():
		m.log.Info("child recovered", "slot", p.slot.name(), "pid", p.pid, "after", now.Sub(p.since).Round(time.Millisecond))
		p.enter(StateLive, now, 0)
		p.pulse.waiting = time.Time{}
		recovered = true
	}
	if p.state == StateStalled && m.hangTimeout > 0 && now.Sub(p.pulse.stalled) >= m.hangTimeout {
		m.hang(p, now)
	}
	return recovered
}

// stalledSince returns since when a process has sent no heartbeat, or accepted
// nothing while connections wait; zero if it works.
func (m *monitor) stalledSince(p *process, now time.Time) time.Time {
	if m.hangTimeout > 0 {
		beat := time.Unix(0, p.lane.heartbeat.Load())
		if beat.Before(p.booted) {
			beat = p.booted // the first heartbeat follows
		}
		if now.Sub(beat) >= silentAfter {
			return beat
		}
	}
	if accepted := p.lane.accepted.Load(); accepted != p.pulse.accepted || m.sockets.queue(p.slot) == 0 {
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

// heartbeatSinceStall reports whether a stalled process has sent a heartbeat
// since. Its accept queue is no sign, since a sibling empties it.
func (p *process) heartbeatSinceStall() bool { return p.lane.heartbeat.Load() > p.since.UnixNano() }

// stall takes a process out of steering. One that sends heartbeats but accepts
// nothing recovers and stalls again: that is one stall, from the first on.
func (m *monitor) stall(p *process, now, since time.Time) {
	m.log.Warn("child stalled, connections go elsewhere", "slot", p.slot.name(), "pid", p.pid, "accept_queue", m.sockets.queue(p.slot))
	notAccepting := !p.pulse.waiting.IsZero() // else the heartbeat is missing
	if again := notAccepting && p.pulse.notAccepting && p.pulse.accepted == p.pulse.stalledAccepted && now.Sub(p.since) < m.hangTimeout; !again {
		p.pulse.stalled, p.pulse.stalledAccepted = since, p.pulse.accepted
	}
	p.pulse.notAccepting = notAccepting
	p.enter(StateStalled, now, 0)
}

// hang ends a process that stays stalled: its exit starts the next one.
func (m *monitor) hang(p *process, now time.Time) {
	silence := now.Sub(p.pulse.stalled).Round(time.Millisecond)
	m.log.Error("child hung", "slot", p.slot.name(), "pid", p.pid, "for", silence)
	p.slot.hangs++
	p.enter(StateHung, now, 0)
	m.quit(p, fmt.Sprintf("hung for %v", silence))
}

// forgetAfterPause starts all observation afresh when the last one was too long
// ago, or the clock was set: then the machine, the container or the
// process group was stopped, and a missing heartbeat is no sign.
func (m *monitor) forgetAfterPause(now time.Time) {
	gap := now.Round(0).Sub(m.lastExamined) // of the wall clock, which heartbeats are in
	if !m.lastExamined.IsZero() && gap.Abs() > pausedAfter {
		for p := range m.slots.processes() {
			p.booted = now
			p.pulse = pulse{accepted: p.pulse.accepted, stalled: now}
		}
	}
	m.lastExamined = now.Round(0)
}

// memoryEvery is how often resident memory is read, if it is limited.
const memoryEvery = time.Second

// weighMemory reads the resident memory of every process, if it is limited.
func (m *monitor) weighMemory(now time.Time) {
	if m.maxRSS <= 0 || now.Sub(m.lastWeighed) < memoryEvery {
		return
	}
	m.lastWeighed = now
	for p := range m.slots.processes() {
		p.rss = m.sys.memory(p.pid)
	}
}
