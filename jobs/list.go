package jobs

import (
	"cmp"
	"fmt"
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
