package prefork

import (
	"fmt"
	"log/slog"
	"time"
)

// replaceGap is the least time between two processes that begin to leave, unless
// the first exits sooner. Its clients reconnect at once, and should find its
// successor with fewer connections than the other processes.
const replaceGap = time.Second

// rollout replaces processes by successors, one at a time over all slots, and
// the successor is ready before the old process leaves: processes of an earlier
// release, and those that have reached the limit of requests or memory.
type rollout struct {
	log        *slog.Logger
	slots      *slotTable
	supervisor *supervisor
	maxRSS     int64

	reloading bool   // a new release has not reached every slot yet
	failure   string // why it has not
	reloads   int    // that reached every slot
}

// step replaces the next process if it is time. The error is why its successor
// could not be started in the slot.
func (r *rollout) step(now time.Time) (*slot, error) {
	for _, s := range r.slots.all {
		if s.next != nil {
			return nil, nil
		}
		for _, p := range s.leaving {
			if now.Sub(p.since) < replaceGap {
				return nil, nil
			}
		}
	}
	for _, s := range r.slots.all {
		if p := s.current; p != nil && (p.state == StateLive || p.state == StateStalled) && r.outdated(s) && !s.removing {
			// A release that does not start in one slot is not tried in others.
			if !now.Before(s.startAt) && len(s.leaving) < maxLeaving {
				return s, r.replace(p, "reload")
			}
			return nil, nil
		}
	}
	return r.recycle(now)
}

// recordFailure notes that a successor failed, and reports whether that delays a
// reload.
func (r *rollout) recordFailure(s *slot, why string) bool {
	if r.reloading {
		r.failure = fmt.Sprintf("%s: %s", s.name(), why)
	}
	return r.reloading
}

// finish notes that no slot is outdated, and reports whether a reload has ended
// with that.
func (r *rollout) finish() bool {
	if !r.reloading {
		return false
	}
	r.reloading, r.failure = false, ""
	r.reloads++
	return true
}

// outdated reports whether the slot's process is of an earlier release, or has
// a share of the machine for which a reload has left too many slots or too few.
func (r *rollout) outdated(s *slot) bool {
	return !s.keep && s.current != nil &&
		(s.current.release != r.supervisor.release.number || r.reloading && s.current.resources != r.supervisor.resourceLimits(s.role))
}

// replace starts the successor of a process.
func (r *rollout) replace(p *process, why string) error {
	r.log.Info("replacing child", "slot", p.slot.name(), "pid", p.pid, "reason", why)
	p.slot.replaceReason = why
	return r.supervisor.start(p.slot)
}

// recycle replaces a process that has reached a limit. It waits until no other
// one leaves: there is no hurry.
func (r *rollout) recycle(now time.Time) (*slot, error) {
	var p *process
	var reached string
	for _, s := range r.slots.all {
		if len(s.leaving) > 0 {
			return nil, nil
		}
		if a := s.liveProcess(); p == nil && a != nil && !s.removing && !now.Before(s.startAt) {
			if reached = r.reachedLimit(a); reached != "" {
				p = a
			}
		}
	}
	if p == nil {
		return nil, nil
	}
	return p.slot, r.replace(p, reached)
}

// reachedLimit says which limit a process has reached; empty if none.
func (r *rollout) reachedLimit(p *process) string {
	if n := p.counters.Requests.Load(); p.maxRequests > 0 && n >= p.maxRequests {
		return fmt.Sprintf("request limit reached: %d", n)
	}
	if r.maxRSS > 0 && p.rss >= r.maxRSS {
		return fmt.Sprintf("memory limit reached: %d MiB resident", p.rss>>20)
	}
	return ""
}
