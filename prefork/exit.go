package prefork

import (
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/galeserver/gale/pool"
)

// handleExit handles the end of a slot's process. It returns the reason, which is more
// than the exit status if the master ended it.
func (v *supervisor) handleExit(p *process, why string) string {
	if p.exitReason != "" {
		why = fmt.Sprintf("%s (%s)", p.exitReason, why)
	}
	_ = p.control.Close()
	p.slot.page.free(p.counters)
	v.mergeReport(p)
	p.state = StateStopped // as an adopter, and for a message that is still queued
	if i := slices.Index(p.slot.leaving, p); i < 0 {
		v.handleUnexpectedExit(p, why)
	} else {
		p.slot.leaving = slices.Delete(p.slot.leaving, i, i+1)
		p.slot.lastExit = why
		v.log.Info("child stopped", "slot", p.slot.name(), "pid", p.pid, "reason", why)
	}
	return why
}

// handleUnexpectedExit handles the end of a process that was not asked to leave, and schedules
// the next start in its slot.
func (v *supervisor) handleUnexpectedExit(p *process, why string) {
	s, now := p.slot, v.sys.now()
	s.lastExit = why
	delay := s.unexpectedExits.add(now, v.opt.Backoff)
	attrs := []any{"slot", s.name(), "pid", p.pid, "reason", why}
	if p == s.next {
		s.next = nil
		v.log.Warn("replacement died, the old process serves on", append(attrs, "next_attempt_in", delay.Round(time.Millisecond))...)
		s.startAt = now.Add(delay)
		return
	}
	s.current = nil
	s.restarts++
	if s.next != nil {
		// Its successor is booting.
		v.log.Warn("child died", attrs...)
		s.current, s.next = s.next, nil
		return
	}
	if s.removing {
		v.log.Warn("child died", attrs...)
		return
	}
	delay = min(delay, v.maxDelay(s.role, now))
	v.log.Warn("child died", append(attrs, "restart_in", delay.Round(time.Millisecond))...)
	s.startAt = now.Add(delay)
}

// maxRoleOutage is how long a role without any process waits before it starts
// one, whatever the backoff of its slots.
const maxRoleOutage = 250 * time.Millisecond

// maxDelay is how long a slot may be left without a process: without limit
// while another one of its role has one.
func (v *supervisor) maxDelay(role string, now time.Time) time.Duration {
	last := time.Time{}
	for _, s := range v.slots.all {
		if s.role != role {
			continue
		}
		if s.current != nil {
			return time.Hour
		}
		if s.started.After(last) {
			last = s.started
		}
	}
	return max(last.Add(maxRoleOutage).Sub(now), 0)
}

// nextDeadline is when the first process or slot has to change its state; zero
// if none has to.
func (v *supervisor) nextDeadline(now time.Time) (next time.Time) {
	for _, s := range v.slots.all {
		if s.current == nil || now.Before(s.startAt) {
			next = earliest(next, s.startAt)
		}
		for p := range s.processes() {
			next = earliest(next, p.deadline)
		}
	}
	return next
}

// earliest returns the earlier of two times, of which a zero one is none.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// expire acts on every process whose deadline has passed, and starts processes
// in slots whose backoff is over.
func (v *supervisor) expire(now time.Time) {
	for p := range v.slots.processes() {
		switch late := now.Sub(p.deadline); {
		case p.deadline.IsZero() || late < 0:
		case late > pauseThreshold: // the master itself was stopped; messages that came meanwhile are handled first
			p.deadline = now.Add(pauseThreshold)
		default:
			p.deadline = time.Time{}
			v.handleTimeout(p)
		}
	}
	for _, s := range v.slots.all {
		if s.current == nil && !s.startAt.IsZero() && !now.Before(s.startAt) {
			_ = v.start(s) // logged, and tried again
		}
	}
}

// handleTimeout acts on a process that should have left its state by now.
func (v *supervisor) handleTimeout(p *process) {
	switch {
	case p.quitSent:
		v.kill(p, p.exitReason)
	case p.state == StateBooting:
		v.kill(p, fmt.Sprintf("not ready within %v", v.opt.BootTimeout))
	case p.state == StateLeaving:
		v.quit(p, fmt.Sprintf("%s, still running after %v", p.exitReason, v.opt.Grace))
	}
}

// drain lets a process finish its work: TERM, then within the grace time QUIT,
// then KILL.
func (v *supervisor) drain(p *process, why string) {
	s := p.slot
	if s.current == p {
		s.current = nil
	}
	if s.next == p {
		s.next = nil
	}
	s.leaving = append(s.leaving, p)
	if p.quitSent { // hung: QUIT was sent already
		p.state = StateLeaving
		return
	}
	v.log.Debug("child draining", "slot", s.name(), "pid", p.pid, "reason", why)
	p.exitReason = why
	p.enter(StateLeaving, v.sys.now(), v.opt.Grace)
	_ = v.sys.kill(p.pid, syscall.SIGTERM)
}

// quit makes a process print its goroutines and exit; KILL follows.
func (v *supervisor) quit(p *process, why string) {
	v.log.Error("sending QUIT to child for a goroutine dump", "slot", p.slot.name(), "pid", p.pid, "reason", why)
	p.exitReason, p.quitSent = why, true
	p.deadline = v.sys.now().Add(dumpTimeout)
	_ = v.sys.kill(p.pid, syscall.SIGQUIT)
}

// kill ends a process; its exit does the rest.
func (v *supervisor) kill(p *process, why string) {
	v.log.Error("killing child", "slot", p.slot.name(), "pid", p.pid, "reason", why)
	p.exitReason = why
	_ = v.sys.kill(p.pid, syscall.SIGKILL)
}

// mergeReport merges the last report of a process that is gone into the sum of
// its slot.
func (v *supervisor) mergeReport(p *process) {
	last := p.slot.reports.read(p.index)
	if len(last) == 0 || v.opt.MergeReports == nil {
		return
	}
	p.slot.reports.clear(p.index)
	if err := pool.Protect(func() error {
		p.slot.mergedReport = v.opt.MergeReports(p.slot.mergedReport, last)
		return nil
	}); err != nil {
		v.log.Error("report lost", "slot", p.slot.name(), "pid", p.pid, "error", err)
	}
}
