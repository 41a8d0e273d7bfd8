package prefork

import (
	"fmt"
	"log/slog"
	"time"
)

const (
	// checkInterval is how often the master reads the scoreboard while
	// connections arrive. Weights hold from one reading to the next, so it reads
	// more often while slots hold numbers of connections that differ by more than
	// unevenAbove, and less often when none has arrived for idleAfter.
	checkInterval  = 10 * time.Millisecond
	unevenInterval = time.Millisecond
	idleInterval   = 50 * time.Millisecond
	idleAfter      = time.Second
	unevenAbove    = 16
	// acceptTimeout is how long connections may wait while none is accepted before
	// new ones are steered to other slots. A false alarm loses nothing.
	acceptTimeout = 100 * time.Millisecond
	// heartbeatTimeout is how long a child may be without a heartbeat before it counts
	// as stalled too.
	heartbeatTimeout = 3 * time.Second
	// pauseThreshold is the gap between two readings from which on the master assumes
	// that it was stopped itself.
	pauseThreshold = time.Second
	// dumpTimeout is how long a child has to print its goroutines after QUIT.
	dumpTimeout = 2 * time.Second
)

// health is what the monitor has seen of a process.
type health struct {
	accepted        int64     // connections, when it was last looked
	stuckSince      time.Time // since when connections wait and none is accepted; zero: not
	stalledSince    time.Time // since when the process is, or was, stalled
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

	lastCheck      time.Time // by the wall clock
	lastMemoryRead time.Time
}

// check checks every current process. It reports whether one has recovered,
// and when to check again.
func (m *monitor) check(now time.Time) (recovered bool, next time.Duration) {
	next = idleInterval
	m.resetAfterPause(now)
	for _, s := range m.slots.all {
		p := s.current
		if p == nil || p.state != StateLive && p.state != StateStalled {
			continue
		}
		if m.checkProcess(p, now) {
			recovered = true
		}
		if p.state != StateLive || !p.health.stuckSince.IsZero() {
			next = min(next, checkInterval)
		}
	}
	m.readMemory(now)
	return recovered, next
}

func (m *monitor) checkProcess(p *process, now time.Time) (recovered bool) {
	since := m.stallStart(p, now)
	switch {
	case p.state == StateLive && !since.IsZero():
		m.markStalled(p, now, since)
	case p.state == StateStalled && since.IsZero() && p.heartbeatSinceStall():
		m.log.Info("child recovered", "slot", p.slot.name(), "pid", p.pid, "after", now.Sub(p.since).Round(time.Millisecond))
		p.enter(StateLive, now, 0)
		p.health.stuckSince = time.Time{}
		recovered = true
	}
	if p.state == StateStalled && m.hangTimeout > 0 && now.Sub(p.health.stalledSince) >= m.hangTimeout {
		m.handleHang(p, now)
	}
	return recovered
}

// stallStart returns since when a process has sent no heartbeat, or accepted
// nothing while connections wait; zero if it works.
func (m *monitor) stallStart(p *process, now time.Time) time.Time {
	if m.hangTimeout > 0 {
		beat := time.Unix(0, p.counters.heartbeat.Load())
		if beat.Before(p.readyAt) {
			beat = p.readyAt // the first heartbeat follows
		}
		if now.Sub(beat) >= heartbeatTimeout {
			return beat
		}
	}
	if accepted := p.counters.accepted.Load(); accepted != p.health.accepted || m.sockets.acceptQueue(p.slot) == 0 {
		p.health.accepted, p.health.stuckSince = accepted, time.Time{}
		return time.Time{}
	}
	if p.health.stuckSince.IsZero() {
		p.health.stuckSince = now
	}
	if now.Sub(p.health.stuckSince) >= acceptTimeout {
		return p.health.stuckSince
	}
	return time.Time{}
}

// heartbeatSinceStall reports whether a stalled process has sent a heartbeat
// since. Its accept queue is no sign, since a sibling empties it.
func (p *process) heartbeatSinceStall() bool { return p.counters.heartbeat.Load() > p.since.UnixNano() }

// markStalled takes a process out of steering. One that sends heartbeats but accepts
// nothing recovers and stalls again: that is one stall, from the first on.
func (m *monitor) markStalled(p *process, now, since time.Time) {
	m.log.Warn("child stalled, connections go elsewhere", "slot", p.slot.name(), "pid", p.pid, "accept_queue", m.sockets.acceptQueue(p.slot))
	notAccepting := !p.health.stuckSince.IsZero() // else the heartbeat is missing
	if again := notAccepting && p.health.notAccepting && p.health.accepted == p.health.stalledAccepted && now.Sub(p.since) < m.hangTimeout; !again {
		p.health.stalledSince, p.health.stalledAccepted = since, p.health.accepted
	}
	p.health.notAccepting = notAccepting
	p.enter(StateStalled, now, 0)
}

// handleHang ends a process that stays stalled: its exit starts the next one.
func (m *monitor) handleHang(p *process, now time.Time) {
	silence := now.Sub(p.health.stalledSince).Round(time.Millisecond)
	m.log.Error("child hung", "slot", p.slot.name(), "pid", p.pid, "for", silence)
	p.slot.hangs++
	p.enter(StateHung, now, 0)
	m.quit(p, fmt.Sprintf("hung for %v", silence))
}

// resetAfterPause starts all observation afresh when the last one was too long
// ago, or the clock was set: then the machine, the container or the
// process group was stopped, and a missing heartbeat is no sign.
func (m *monitor) resetAfterPause(now time.Time) {
	gap := now.Round(0).Sub(m.lastCheck) // of the wall clock, which heartbeats are in
	if !m.lastCheck.IsZero() && gap.Abs() > pauseThreshold {
		for p := range m.slots.processes() {
			p.readyAt = now
			p.health = health{accepted: p.health.accepted, stalledSince: now}
		}
	}
	m.lastCheck = now.Round(0)
}

// memoryInterval is how often resident memory is read, if it is limited.
const memoryInterval = time.Second

// readMemory reads the resident memory of every process, if it is limited.
func (m *monitor) readMemory(now time.Time) {
	if m.maxRSS <= 0 || now.Sub(m.lastMemoryRead) < memoryInterval {
		return
	}
	m.lastMemoryRead = now
	for p := range m.slots.processes() {
		p.rss = m.sys.memory(p.pid)
	}
}
