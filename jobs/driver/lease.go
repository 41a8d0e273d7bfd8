package driver

import (
	"context"

	"github.com/galeserver/gale/jobs"
)

// LeaseRequest describes a worker and the tasks that it can run, for Leaser.Lease.
type LeaseRequest struct {
	// Owner identifies the worker: the instance of the master and the slot.
	Owner string
	// Queues are the queues to lease from, in order of priority: a task of the second
	// queue is leased only when no task of the first is due.
	Queues []string
	// Names are the tasks that the worker can run. Other tasks stay in the queue.
	Names []string
	// Rates are the limits of how many attempts start, by task name. A limit applies to all
	// workers of the store together. A name without a rate is not limited.
	Rates map[string]jobs.Rate
	// Max is the largest number of tasks to lease, at least 1.
	Max int
}

// Lease is the right to run one attempt at a task. Owner and Attempt identify it: the
// store refuses every change with a lease that is not the current one of its task.
type Lease struct {
	Task    *jobs.Task // the task at the start of the attempt
	Owner   string
	Attempt int
}

// Holds reports whether l is the current lease of t, its task.
func (l *Lease) Holds(t *jobs.Task) bool { return t.State == jobs.StateRunning && l.IsLast(t) }

// IsLast reports whether the last attempt at t was made with l.
func (l *Lease) IsLast(t *jobs.Task) bool { return t.Attempts == l.Attempt && t.Worker == l.Owner }

// Leaser leases tasks to workers.
//
// A lease is lost if it expires or is reclaimed before the attempt ends. A task whose
// lease was lost MaxLost times (DefaultMaxLost) becomes jobs.StateDead, because the task
// itself may crash the workers.
//
// When a worker crashes, the leases of all its tasks are lost, but only one task may be the
// cause. The other tasks must not become dead. Therefore a task whose lease was lost
// SuspectAfter times is a suspect. A worker holds at most one suspect at a time. If it
// crashes, only the lease of the suspect is counted as lost. A harmless task is therefore
// counted at most SuspectAfter times.
type Leaser interface {
	// Lease waits until a task is due for the worker, moves up to r.Max tasks to
	// StateRunning and returns them. Within a queue they are in the order in which they
	// became due, except suspects and released tasks. When ctx ends first, it returns
	// context.Cause(ctx), or tasks that it leased at the same moment.
	//
	// A task whose lease has expired is due again, or becomes StateDead after MaxLost
	// lost leases. A lost lease does not count as a Failure. Tasks of a paused queue are
	// not leased. Tasks past NewTask.Expires are cancelled in the same step.
	Lease(ctx context.Context, r LeaseRequest) ([]*Lease, error)
	// Extend renews the leases for their full time. It returns the leases that are lost;
	// the worker must stop their attempts.
	Extend(ctx context.Context, leases []*Lease) (lost []*Lease, err error)
	// Release ends a lease before its attempt has finished. The task is due at once, and
	// the lease is not counted as lost. The error wraps ErrLeaseLost if the lease is not
	// current.
	Release(ctx context.Context, l *Lease) error
	// Reclaim ends all leases of owner as lost, as if they had expired, and returns
	// their number. It is called when the process of that owner is known to be dead.
	Reclaim(ctx context.Context, owner string) (int, error)
	// Held checks which leases are still held. It returns the others, which are lost, as
	// Extend does, but renews none. A worker calls it often to detect cancelled tasks soon.
	Held(ctx context.Context, leases []*Lease) (lost []*Lease, err error)
}
