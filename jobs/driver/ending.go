package driver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/galeserver/gale/jobs"
)

// EndKind says how an attempt ended, see Ending.
type EndKind string

// Kinds of endings.
const (
	// EndFinished: the handler has returned. Ending.Outcome returns its outcome.
	EndFinished EndKind = "finished"
	// EndLost: the process that ran the handler died. The task is due at once and counts
	// one more lost lease. Other leases of the owner are not affected.
	EndLost EndKind = "lost"
	// EndReleased: the attempt did not finish. The task is due again at Ending.At, and
	// neither a failure nor a lost lease is counted.
	EndReleased EndKind = "released"
)

// Ending is the end of an attempt, for Remote.End.
type Ending struct {
	Kind EndKind
	// Outcome returns the outcome, for EndFinished. It gets the task as it is before the
	// end. It may run in a transaction of the store, so it must not wait. An error changes
	// nothing; End returns it.
	Outcome func(*jobs.Task) (Outcome, error)
	At      time.Time // for EndReleased; zero or in the past: at once, at the task's old place
}

// Check returns an error if Kind is unknown, or if it is EndFinished without Outcome. Every
// Store calls it.
func (e Ending) Check() error {
	switch {
	case e.Kind == EndFinished && e.Outcome == nil:
		return errors.New("the ending has no outcome")
	case e.Kind == EndFinished, e.Kind == EndLost, e.Kind == EndReleased:
		return nil
	}
	return fmt.Errorf("%q is not a kind of ending", e.Kind)
}

// Ended is the result of Remote.End.
type Ended struct {
	Task  *jobs.Task // as it was before the call
	State jobs.State // the new state
	Again bool       // an earlier call has ended the attempt; this one has changed nothing
}

// Remote has the methods for workers in other programs. Such a worker repeats a call if
// the response is lost, so these methods recognize a repeated call.
type Remote interface {
	// End ends the attempt of a lease in one step. Of l.Task only the ID is used. The store
	// remembers the newest MaxEnded leases of a task that were ended by End. If l is one of
	// them, End changes nothing and returns the state that the first call returned, with
	// Again true. If l is not current otherwise, the error wraps jobs.ErrLeaseLost and
	// nothing is changed. If Outcome.Check returns an error, End returns it and changes
	// nothing.
	End(ctx context.Context, l *Lease, e Ending) (Ended, error)
	// ReleaseOthers releases all leases of an owner except those in keep, as
	// Leaser.Release does, and returns their number. It is for leases that the worker
	// does not know, because the response with them was lost.
	ReleaseOthers(ctx context.Context, owner string, keep []*Lease) (int, error)
	// Report stores what an attempt reports. The error wraps jobs.ErrLeaseLost if the lease
	// is not current.
	Report(ctx context.Context, l *Lease, r Report) error
	// Unclaimed returns, by queue, the number of due tasks that none of the workers can
	// run. Queues without such tasks are left out. A store may count a task only after a
	// worker of its queue has skipped it.
	Unclaimed(ctx context.Context, workers []Claim) (map[string]int, error)
}

// Claim says what a worker can run: the tasks with these names in these queues.
type Claim struct{ Queues, Names []string }

// Report is progress of an attempt. What is nil stays as it is.
type Report struct {
	Percent *int    // 0 to 100
	Note    *string // as Note returns it
	// Meta is a JSON value that is Task.Result while the attempt runs.
	Meta json.RawMessage
}

// Merge returns r with what a newer report has set.
func (r Report) Merge(newer Report) Report {
	if newer.Percent != nil {
		r.Percent = newer.Percent
	}
	if newer.Note != nil {
		r.Note = newer.Note
	}
	if newer.Meta != nil {
		r.Meta = newer.Meta
	}
	return r
}

// MaxEnded is the number of leases that a store remembers per task, see Remote.
const MaxEnded = 8

// AddEnded appends a lease to those that have ended their attempts themselves, and keeps the
// newest MaxEnded.
func AddEnded(all []jobs.EndedLease, l *Lease, state jobs.State) []jobs.EndedLease {
	all = append(slices.Clone(all), jobs.EndedLease{Attempt: l.Attempt, Owner: l.Owner, State: state})
	return all[max(0, len(all)-MaxEnded):]
}

// EndedState returns the state that the lease gave the task, if it is one of all.
func EndedState(all []jobs.EndedLease, l *Lease) (state jobs.State, found bool) {
	for _, e := range all {
		if e.Attempt == l.Attempt && e.Owner == l.Owner {
			return e.State, true
		}
	}
	return "", false
}
