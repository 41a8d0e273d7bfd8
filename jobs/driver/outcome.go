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

// Outcome is how an attempt ended.
type Outcome struct {
	// State is Success, Failed, Retrying, Cancelled or Dead.
	State jobs.State
	// Result is the handler's, as JSON; for Success.
	Result json.RawMessage
	// Error is the reason; for all but Success. It is kept among Failures.
	Error string
	// RetryAt is when a Retrying task is due again.
	RetryAt time.Time
	// Artifacts are the names of the files that the task left.
	Artifacts []string
	// Next are accepted in the same atomic step as the outcome: a crash
	// neither loses nor doubles them. They are part of the task's workflow, whose
	// reservations they take up. One whose id is anybody else's is left out. After
	// a task that is part of no workflow, nothing is reserved for their Followers.
	Next []jobs.NewTask
}

// Check refuses what is no end of an attempt, a result that is not JSON in UTF-8, and
// next tasks that cannot be accepted. Every Store calls it.
func (o Outcome) Check() error {
	if !o.State.Final() && o.State != jobs.StateRetrying {
		return fmt.Errorf("%q is not how an attempt ends", o.State)
	}
	if o.Result != nil && !utf8text.ValidJSON(o.Result) {
		return errors.New("the result is not JSON in UTF-8")
	}
	for _, n := range o.Next {
		if err := n.Check(); err != nil {
			return err
		}
	}
	return nil
}

// Recorder takes what running attempts report.
type Recorder interface {
	// Progress records how far the attempt is, 0 to 100, and what it does.
	Progress(ctx context.Context, l *Lease, percent int, note string) error
	// Finish ends the attempt and accepts o.Next, in one step and only if the
	// lease is current; else ErrLeaseLost and nothing is changed. A lease that
	// has expired is current until another worker has it. At least the newest
	// MaxRetries failures of a task are kept.
	Finish(ctx context.Context, l *Lease, o Outcome) error
	// AppendLog adds whole lines to the task's log, of which the last MaxLog
	// bytes are kept, for as long as the task. It is no change of the task.
	AppendLog(ctx context.Context, l *Lease, lines string) error
}

// Bounded returns the outcome with its Error as Task.Error keeps it; a success
// has none.
func (o Outcome) Bounded() Outcome {
	if o.Error = utf8text.Cut(o.Error, MaxError); o.State == jobs.StateSuccess {
		o.Error = ""
	}
	return o
}
