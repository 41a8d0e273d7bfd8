package driver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/galeserver/gale/internal/utf8text"
	"github.com/galeserver/gale/jobs"
)

// Outcome is the end of an attempt.
type Outcome struct {
	// State is StateSuccess, StateFailed, StateRetrying, StateCancelled or StateDead.
	State jobs.State
	// Result is the result of the handler, as JSON, for StateSuccess.
	Result json.RawMessage
	// Error is the error text for all other states. It is added to Failures.
	Error string
	// RetryAt is the time at which a StateRetrying task is due again.
	RetryAt time.Time
	// Artifacts are the names of the files that the task has stored.
	Artifacts []string
	// Next are the tasks to enqueue in the same step, so that a crash can neither lose nor
	// duplicate them. They belong to the workflow of the finished task and use the ids
	// that it has reserved. A task of Next whose id is in use elsewhere is skipped. If the
	// finished task belongs to no workflow, the Followers of Next are not reserved.
	Next []jobs.NewTask
	// NextGroups are groups to enqueue in the same step, like Next. A group of which an id
	// is in use elsewhere is skipped.
	NextGroups []jobs.NewGroup
}

// Check returns an error if State cannot be the end of an attempt, Result is not JSON in
// UTF-8, or NewTask.Check refuses one of Next. Every Store calls it.
func (o Outcome) Check() error {
	if !o.State.Final() && o.State != jobs.StateRetrying {
		return fmt.Errorf("state %q cannot be the end of an attempt", o.State)
	}
	if o.Result != nil && !utf8text.ValidJSON(o.Result) {
		return errors.New("the result is not JSON in UTF-8")
	}
	for _, n := range o.Next {
		if err := n.Check(); err != nil {
			return err
		}
	}
	for _, g := range o.NextGroups {
		if err := g.Check(); err != nil {
			return err
		}
	}
	return nil
}

// Recorder records what running attempts report.
type Recorder interface {
	// Progress stores the progress of the attempt, 0 to 100 percent, and a note.
	Progress(ctx context.Context, l *Lease, percent int, note string) error
	// Finish ends the attempt and enqueues o.Next in one step. If the lease is not
	// current, the error wraps ErrLeaseLost and nothing is changed; an expired lease
	// stays current until another worker leases the task. The store keeps at least the
	// newest jobs.MaxRetries failures of a task.
	Finish(ctx context.Context, l *Lease, o Outcome) error
	// AppendLog appends whole lines to the log of the task and keeps the last MaxLog
	// bytes of it. It does not change Task.Version.
	AppendLog(ctx context.Context, l *Lease, lines string) error
}

// Bounded returns the outcome with Error cut to MaxError bytes. For StateSuccess, Error
// becomes empty.
func (o Outcome) Bounded() Outcome {
	if o.Error = utf8text.Cut(o.Error, MaxError); o.State == jobs.StateSuccess {
		o.Error = ""
	}
	return o
}
