package jobs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
)

// Bounds of a page of tasks.
const (
	DefaultPage = 50
	MaxPage     = 500
	// ScanLimit is how many tasks are looked at for one page: a filter that
	// nothing passes must not read a million tasks in one go.
	ScanLimit = 10_000
	// PageBytes ends a page early: arguments and results may be large.
	PageBytes = 4 << 20
)

// ErrState: what was asked for cannot be done to the task as it is; the error
// says why. Nothing was changed.
var ErrState = errors.New("not possible in this state")

// Query asks for tasks. Its zero value asks for all.
type Query struct {
	State State  // only these; empty: any
	Name  string // only tasks of that name; empty: any
	Queue string // only what was accepted for that queue; empty: any
	// Limit is how many at most. Default DefaultPage; more than MaxPage is
	// MaxPage.
	Limit int
	// Before is the Next of the page before; 0 begins with the newest.
	Before int64
}

// Size is the limit that holds.
func (q Query) Size() int {
	if q.Limit <= 0 {
		return DefaultPage
	}
	return min(q.Limit, MaxPage)
}

// Matches reports whether the query asks for the task.
func (q Query) Matches(t *Task) bool {
	return (q.State == "" || q.State == t.State) && (q.Name == "" || q.Name == t.Name) && (q.Queue == "" || q.Queue == t.Queue)
}

// Page is a part of the tasks, newest first.
type Page struct {
	Tasks []*Task
	// Next continues behind this page; 0 if nothing is left. A page may be
	// short, or empty, and have a Next: ScanLimit and PageBytes bound what is
	// read for it.
	Next int64
}

// Lister shows what a store holds.
type Lister interface {
	// List returns the tasks asked for, in the reverse order of acceptance. A
	// task that is accepted meanwhile is on no later page.
	List(ctx context.Context, q Query) (*Page, error)
}

// Changer does to tasks what people want done to them.
type Changer interface {
	// Cancel ends a task as Cancelled, at once and whatever it is at: one that
	// waits never starts; of one that runs the lease is lost, which its worker
	// learns from Held, and what it still says is refused. A group counts it as
	// failed. It returns the task; to cancel twice is no error. Errors wrap
	// ErrNotFound, or ErrState if the task has ended otherwise.
	Cancel(ctx context.Context, id string) (*Task, error)
	// CancelWorkflow ends, in one step, all tasks that wait or run of the group of
	// that id, or of the chain that the task of that id begins, as Cancel does.
	// No task of it is accepted afterwards, its callback ends as Cancelled, and
	// its reservations are gone. To cancel twice is no error. Errors wrap
	// ErrNotFound, or ErrState if nothing of it waits or runs any more.
	CancelWorkflow(ctx context.Context, id string) error
	// Requeue makes a task due again that is Failed, Cancelled or Dead; what was
	// lost is forgotten, failures stay, so none that MaxRetries allowed and has
	// had is had again. Errors wrap ErrNotFound, or ErrState: for other states,
	// for a member of a group, which has counted it, for a callback that waited
	// for results that will never be, and for what was cancelled by CancelWorkflow.
	Requeue(ctx context.Context, id string) (*Task, error)
	// Pause keeps all workers from beginning tasks of a queue until Resume. What
	// runs goes on, and tasks are accepted as ever. Both may be called twice.
	Pause(ctx context.Context, queue string) error
	// Resume ends Pause.
	Resume(ctx context.Context, queue string) error
	// Purge ends as Cancelled, with PurgedReason, those of the tasks that are in
	// one of the states, and returns how many these were. The states are among
	// Purgeable, so what runs goes on; the ids are at most MaxPage. Ids that no task
	// has are passed over. All of them end in one step, or none; groups count them
	// as Cancel has it, but for the dead, which they have counted.
	Purge(ctx context.Context, ids []string, states []State) (int, error)
}

// Purgeable are the states of tasks that wait, in the order in which a task comes
// by them, and of those that wait for a person.
var Purgeable = []State{StateScheduled, StateQueued, StateRetrying, StateDead}

// CheckPurge refuses what Purge must not do. Every store asks it.
func CheckPurge(ids []string, states []State) error {
	if len(ids) > MaxPage {
		return fmt.Errorf("%w: %d ids are more than %d", ErrOption, len(ids), MaxPage)
	}
	for _, state := range states {
		if !slices.Contains(Purgeable, state) {
			return StateError("a task that is " + string(state) + " cannot be purged")
		}
	}
	return nil
}

// Requeueable returns nil, or an error wrapping ErrState that says why Requeue
// must refuse the task. Every store asks it.
func (t *Task) Requeueable() error {
	switch {
	case t.State != StateFailed && t.State != StateCancelled && t.State != StateDead:
		return StateError("task is " + string(t.State) + "; only what failed, was cancelled or is dead can be tried again")
	case t.Aborted:
		return StateError(fmt.Sprintf("workflow %q was cancelled, with all of its tasks", cmp.Or(t.Part(), t.ID)))
	case t.Group != "":
		return StateError("task is a member of group " + t.Group + ", which has counted it")
	case t.State == StateFailed && t.Attempts == 0:
		return StateError("task never began, since a member of its group failed")
	}
	return nil
}

// Ended is the error of Cancel for a task that came to another end.
func (t *Task) Ended() error { return StateError("task has ended: " + string(t.State)) }

// ErrWorkflowEnded is the error of CancelWorkflow for one that has ended.
const ErrWorkflowEnded = StateError("nothing of the workflow waits or runs any more")

// StateError is an ErrState whose text, which says why, is for users.
type StateError string

func (e StateError) Error() string { return string(e) }

// Unwrap returns ErrState.
func (StateError) Unwrap() error { return ErrState }

// Why a task is Cancelled.
const (
	// CancelReason is the Error of a task that was cancelled.
	CancelReason = "cancelled"
	// AbortReason is the Error of a task whose workflow was cancelled.
	AbortReason = "cancelled with its workflow"
	// ExpiredReason is the Error of a task that was not begun in time.
	ExpiredReason = "expired before it was begun"
	// PurgedReason is the Error of a task that was purged.
	PurgedReason = "purged"
)
