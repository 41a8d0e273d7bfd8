package prefork

import (
	"fmt"
	"log/slog"
	"time"
)

const (
	// checkInterval is the time between two readings of the scoreboard while
	// connections arrive. The weights of steering do not change between two
	// readings, so the interval is unevenInterval while connections arrive and the
	// numbers of connections of the slots differ by more than unevenAbove. It is
	// idleInterval when the numbers do not differ and no connection has arrived for
	// idleAfter; then the next connection ends the interval, see arrivals.
	checkInterval  = 10 * time.Millisecond
	unevenInterval = time.Millisecond
	idleInterval   = time.Second
	idleAfter      = time.Second
	unevenAbove    = 16
	// acceptTimeout is the time after which a child counts as stalled if it accepts
	// nothing although its accept queue is not empty. A stall that is reported wrongly
	// does no harm: other slots accept the connections meanwhile.
	acceptTimeout = 100 * time.Millisecond
	// heartbeatTimeout is the time after which a child without a heartbeat counts as
	// stalled.
	heartbeatTimeout = 3 * time.Second
	// pauseThreshold is the time between two readings above which the master assumes
	// that it was stopped itself.
	pauseThreshold = 2 * time.Second
	// dumpTimeout is the time that a child has to print its goroutines after SIGQUIT.
	dumpTimeout = 2 * time.Second
)

// health is what the monitor records about a process.
type health struct {
	accepted        int64     // connections accepted before the last check
	stuckSince      time.Time // start of the time without an accept although the queue is not empty; zero: none
	stalledSince    time.Time // start of the present or last stall
	stalledAccepted int64     // connections accepted before that stall
	notAccepting    bool      // cause of that stall; true: it accepted nothing, false: its heartbeat was missing
}

// monitor finds processes that do not work: their heartbeat is missing, or they do not
// accept the connections in their accept queue. The heartbeat alone is not enough,
// because its goroutine still runs when all others are deadlocked.
type monitor struct {
	sys         *system
	log         *slog.Logger
	slots       *slotTable
	sockets     *sockets
	hangTimeout time.Duration
	quit        func(p *process, why string)

	lastCheck      time.Time // without monotonic clock reading
	lastMemoryRead time.Time
}

// check checks all current processes. It reports whether a process has recovered, and
// returns the time until the next check.
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

// stallStart returns the time at which a process stopped sending heartbeats, or stopped
// accepting although its accept queue is not empty. The time is zero if the process works.
func (m *monitor) stallStart(p *process, now time.Time) time.Time {
	if m.hangTimeout > 0 {
		beat := time.Unix(0, p.counters.heartbeat.Load())
		if beat.Before(p.readyAt) {
			beat = p.readyAt // the first heartbeat has not arrived yet
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

// heartbeatSinceStall reports whether a stalled process has sent a heartbeat since it
// stalled. The length of its accept queue is no criterion, because an adopter accepts the
// connections in it.
func (p *process) heartbeatSinceStall() bool { return p.counters.heartbeat.Load() > p.since.UnixNano() }

// markStalled moves a process to the state stalled, so that it gets no new
// connections. A process that sends heartbeats but accepts nothing repeatedly recovers and
// stalls. These stalls count as one, so that the hang timeout applies.
func (m *monitor) markStalled(p *process, now, since time.Time) {
	m.log.Warn("child stalled, new connections go to other slots", "slot", p.slot.name(), "pid", p.pid, "accept_queue", m.sockets.acceptQueue(p.slot))
	notAccepting := !p.health.stuckSince.IsZero()
	if same := notAccepting && p.health.notAccepting && p.health.accepted == p.health.stalledAccepted && now.Sub(p.since) < m.hangTimeout; !same {
		p.health.stalledSince, p.health.stalledAccepted = since, p.health.accepted
	}
	p.health.notAccepting = notAccepting
	p.enter(StateStalled, now, 0)
}

// handleHang ends a process that has been stalled for the hang timeout. Its exit starts
// the next process.
func (m *monitor) handleHang(p *process, now time.Time) {
	stalledFor := now.Sub(p.health.stalledSince).Round(time.Millisecond)
	m.log.Error("child hung", "slot", p.slot.name(), "pid", p.pid, "for", stalledFor)
	p.slot.hangs++
	p.enter(StateHung, now, 0)
	m.quit(p, fmt.Sprintf("hung for %v", stalledFor))
}

// resetAfterPause discards all records if the last check was too long ago, or if the
// clock was set. In the first case the machine, the container or the process group was
// stopped, and missing heartbeats do not mean that a process hangs.
func (m *monitor) resetAfterPause(now time.Time) {
	gap := now.Round(0).Sub(m.lastCheck) // by the wall clock, because heartbeats are wall clock times
	if !m.lastCheck.IsZero() && gap.Abs() > pauseThreshold {
		for p := range m.slots.processes() {
			p.readyAt = now
			p.health = health{accepted: p.health.accepted, stalledSince: now}
			if p.state == StateStalled {
				p.since = now // later heartbeats are compared with it, see heartbeatSinceStall
			}
		}
	}
	m.lastCheck = now.Round(0)
}

// memoryInterval is the time between two readings of resident memory, if it is limited.
const memoryInterval = time.Second

// readMemory reads the resident memory of the processes for which it is limited.
func (m *monitor) readMemory(now time.Time) {
	if now.Sub(m.lastMemoryRead) < memoryInterval {
		return
	}
	m.lastMemoryRead = now
	for p := range m.slots.processes() {
		if p.slot.maxRSS > 0 {
			p.rss = m.sys.memory(p.pid) + p.counters.ProgramMemory.Load()
		}
	}
}
