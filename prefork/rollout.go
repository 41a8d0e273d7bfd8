package prefork

import (
	"fmt"
	"log/slog"
	"time"
)

// replaceGap is the minimum time between the start of a drain and the next replacement,
// unless the drained process exits sooner. The clients of a drained process reconnect
// immediately. In this time most of them connect to its successor, which has the fewest
// connections.
const replaceGap = time.Second

// rollout replaces processes of an earlier release, and processes that have reached the
// limit of requests or memory. It replaces one process at a time, and drains the old
// process when its successor is ready.
type rollout struct {
	log        *slog.Logger
	slots      *slotTable
	supervisor *supervisor

	reloading bool   // a reload has not reached every slot yet
	failure   string // reason why the last failed replacement of the reload failed; empty: none has failed
	reloads   int    // number of reloads that have reached every slot
}

// step starts the next replacement if no other one is under way. If its successor
// cannot be started, step returns the slot and the error.
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
			// If the release failed to start in this slot, it is not started in other
			// slots before the next attempt in this one.
			if !now.Before(s.startAt) && len(s.leaving) < maxLeaving {
				return s, r.replace(p, "reload")
			}
			return nil, nil
		}
	}
	return r.recycle(now)
}

// recordFailure records that a successor failed. It reports whether that delays a
// reload.
func (r *rollout) recordFailure(s *slot, why string) bool {
	if r.reloading {
		r.failure = fmt.Sprintf("%s: %s", s.name(), why)
	}
	return r.reloading
}

// finish is called when no slot is outdated. It reports whether that completes a
// reload.
func (r *rollout) finish() bool {
	if !r.reloading {
		return false
	}
	r.reloading, r.failure = false, ""
	r.reloads++
	return true
}

// outdated reports whether the process of a slot is of an earlier release, or has
// resource limits for a number of slots that a reload has changed.
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

// recycle replaces a process that has reached a limit, if no other process is leaving.
func (r *rollout) recycle(now time.Time) (*slot, error) {
	var p *process
	var reached string
	for _, s := range r.slots.all {
		if len(s.leaving) > 0 {
			return nil, nil
		}
		if live := s.liveProcess(); p == nil && live != nil && !s.removing && !now.Before(s.startAt) {
			if reached = r.reachedLimit(live); reached != "" {
				p = live
			}
		}
	}
	if p == nil {
		return nil, nil
	}
	return p.slot, r.replace(p, reached)
}

// reachedLimit returns a text about the limit that a process has reached. The text is empty
// if the process has not reached a limit.
func (*rollout) reachedLimit(p *process) string {
	if n := p.counters.Requests.Load(); p.maxRequests > 0 && n >= p.maxRequests {
		return fmt.Sprintf("request limit reached: %d", n)
	}
	if p.slot.maxRSS > 0 && p.rss >= p.slot.maxRSS {
		return fmt.Sprintf("memory limit reached: %d MiB resident", p.rss>>20)
	}
	return ""
}
