package prefork

import (
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/galeserver/gale/pool"
)

// handleExit handles the exit of a child. It returns the reason of the exit. That is the
// exit status; if the master ended the process, the master's reason comes first.
func (v *supervisor) handleExit(p *process, why string) string {
	if p.exitReason != "" {
		why = fmt.Sprintf("%s (%s)", p.exitReason, why)
	}
	_ = p.control.Close()
	p.slot.page.free(p.counters)
	v.mergeReport(p)
	p.state = StateStopped // so that steering ends its adoptions, and queued messages are ignored
	if i := slices.Index(p.slot.leaving, p); i < 0 {
		v.handleUnexpectedExit(p, why)
	} else {
		p.slot.leaving = slices.Delete(p.slot.leaving, i, i+1)
		p.slot.lastExit = why
		v.log.Info("child stopped", "slot", p.slot.name(), "pid", p.pid, "reason", why)
	}
	return why
}

// handleUnexpectedExit handles the exit of a process that was not draining, and
// schedules the next start in its slot.
func (v *supervisor) handleUnexpectedExit(p *process, why string) {
	s, now := p.slot, v.sys.now()
	s.lastExit = why
	delay := s.unexpectedExits.add(now, v.opt.Backoff)
	attrs := []any{"slot", s.name(), "pid", p.pid, "reason", why, "recent_exits", len(s.unexpectedExits), "todo", exitAdvice(why)}
	if p == s.next {
		s.next = nil
		v.log.Warn("replacement failed, the old process stays", append(attrs, "next_attempt_in", delay.Round(time.Millisecond))...)
		s.startAt = now.Add(delay)
		return
	}
	s.current = nil
	s.restarts++
	if s.next != nil {
		v.log.Warn("child exited unexpectedly, its replacement is already starting", attrs...)
		s.current, s.next = s.next, nil
		return
	}
	if s.removing {
		v.log.Warn("child exited unexpectedly, its slot is being removed", attrs...)
		return
	}
	if !s.optional {
		delay = min(delay, v.maxDelay(s.role, now))
	}
	v.log.Warn("child exited unexpectedly", append(attrs, "restart_in", delay.Round(time.Millisecond))...)
	s.startAt = now.Add(delay)
}

// exitAdvice returns what to do about an unexpected exit.
func exitAdvice(why string) string {
	if why == describeExit(syscall.WaitStatus(syscall.SIGKILL)) {
		return "if nobody sent SIGKILL, the kernel killed the process because memory ran out: see dmesg"
	}
	return "see the output of the child before this line"
}

// maxRoleOutage is the maximum backoff while no slot of a role has a process, counted from
// the last start in the role.
const maxRoleOutage = 250 * time.Millisecond

// maxDelay returns the maximum backoff of a slot of a role. There is a limit only while no
// slot of the role has a process.
func (v *supervisor) maxDelay(role string, now time.Time) time.Duration {
	last := time.Time{}
	for _, s := range v.slots.all {
		if s.role != role {
			continue
		}
		if s.current != nil {
			return time.Hour // no limit: longer than any backoff
		}
		if s.started.After(last) {
			last = s.started
		}
	}
	return max(last.Add(maxRoleOutage).Sub(now), 0)
}

// nextDeadline returns the time of the next deadline of a process, or of the next
// start in a slot. It is zero if there is none.
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

// earliest returns the earlier of two times. A zero time does not count.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// expire handles every deadline that has passed, and starts processes in slots whose
// backoff is over.
func (v *supervisor) expire(now time.Time) {
	for p := range v.slots.processes() {
		switch late := now.Sub(p.deadline); {
		case p.deadline.IsZero() || late < 0:
		case late > pauseThreshold: // the master was stopped, and must first read the messages that arrived meanwhile
			p.deadline = now.Add(pauseThreshold)
		default:
			p.deadline = time.Time{}
			v.handleTimeout(p)
		}
	}
	for _, s := range v.slots.all {
		if s.current == nil && !s.startAt.IsZero() && !now.Before(s.startAt) {
			_ = v.start(s) // an error is logged, and the start is tried again
		}
	}
}

// handleTimeout handles a process that stays in its state for too long.
func (v *supervisor) handleTimeout(p *process) {
	switch {
	case p.quitSent:
		v.kill(p, p.exitReason)
	case p.state == StateBooting:
		v.kill(p, fmt.Sprintf("not ready within %v", v.opt.BootTimeout))
	case p.state == StateLeaving:
		v.quit(p, fmt.Sprintf("%s, drain not finished within %v", p.exitReason, v.opt.Grace))
	}
}

// drain sends SIGTERM to a process, which then finishes its work and exits. If it has
// not exited within the grace time it gets SIGQUIT, and then SIGKILL.
func (v *supervisor) drain(p *process, why string) {
	s := p.slot
	if s.current == p {
		s.current = nil
	}
	if s.next == p {
		s.next = nil
	}
	s.leaving = append(s.leaving, p)
	if p.quitSent { // it hangs, and SIGKILL follows
		p.state = StateLeaving
		return
	}
	v.log.Debug("child draining", "slot", s.name(), "pid", p.pid, "reason", why)
	p.exitReason = why
	p.enter(StateLeaving, v.sys.now(), v.opt.Grace)
	_ = v.sys.kill(p.pid, syscall.SIGTERM)
}

// quit sends SIGQUIT, so that a process prints its goroutines and exits. If it has not
// exited within dumpTimeout it gets SIGKILL.
func (v *supervisor) quit(p *process, why string) {
	v.log.Error("sending SIGQUIT to child, its goroutine dump follows", "slot", p.slot.name(), "pid", p.pid, "reason", why)
	p.exitReason, p.quitSent = why, true
	p.deadline = v.sys.now().Add(dumpTimeout)
	_ = v.sys.kill(p.pid, syscall.SIGQUIT)
}

// kill sends SIGKILL. handleExit does the rest.
func (v *supervisor) kill(p *process, why string) {
	v.log.Error("killing child", "slot", p.slot.name(), "pid", p.pid, "reason", why)
	p.exitReason = why
	_ = v.sys.kill(p.pid, syscall.SIGKILL)
}

// mergeReport adds the last report of a process that has exited to the merged report
// of its slot.
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
		v.log.Error("cannot merge the last report of a child, its metrics are lost", "slot", p.slot.name(), "pid", p.pid, "error", err)
	}
}
