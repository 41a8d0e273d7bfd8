package driver

import (
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/meter"
)

// EventOf returns the event that counts an attempt after which the task has this state. It is
// "" for a state that no attempt gives to a task.
func EventOf(state jobs.State) meter.Event {
	switch state {
	case jobs.StateSuccess:
		return meter.EventSucceeded
	case jobs.StateFailed, jobs.StateCancelled:
		return meter.EventFailed
	case jobs.StateRetrying:
		return meter.EventRetried
	case jobs.StateDead:
		return meter.EventDead
	}
	return ""
}
