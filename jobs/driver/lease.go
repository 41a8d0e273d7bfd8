package driver

import (
	"context"

	"github.com/galeserver/gale/jobs"
)

// LeaseRequest says what a worker can take.
type LeaseRequest struct {
	// Owner is who will hold the leases: master instance and slot.
	Owner string
	// Queues in order of priority: all that is due in the first is handed out
	// before anything of the second.
	Queues []string
	// Names of the tasks the worker knows. Others wait for one that does.
	Names []string
	// Rates limit how many attempts at tasks of a name begin, counted over all
	// workers of the store. A name without one is not limited.
	Rates map[string]jobs.Rate
	// Max is how many to lease at most.
	Max int
}

// Lease is one attempt at a task. Attempt and Owner fence it: whatever is said
// of a task with a lease that is no longer its current one is refused.
type Lease struct {
	Task    *jobs.Task // as it is at the start of this attempt
	Owner   string
	Attempt int
}

// Leaser hands tasks to workers.
//
// A lease that ends without a word, because it expired or was reclaimed, is
// lost, and a task that was lost MaxLost times is Dead: it may be what kills the
// workers. So that it does not take its neighbours with it, a task that was
// lost SuspectAfter times is a suspect: an owner holds at most one suspect at a
// time, and if it goes down with one, only the suspect counts as lost. An
// innocent neighbour of a poisonous task is therefore blamed SuspectAfter times
// at most, and goes on being run.
type Leaser interface {
	// Lease waits until something is due for the worker, moves up to r.Max
	// tasks to Running and returns them, in the order in which they came due
	// within a queue, suspects and tasks that were given back apart.
	// It returns context.Cause(ctx) when ctx ends first, though it may return
	// tasks all the same. A task whose lease has expired is due again; after
	// MaxLost of these it is Dead instead. A lost lease is no Failure. Nothing
	// is leased from a queue that is paused, and no task that has expired: those
	// are ended in the same step.
	Lease(ctx context.Context, r LeaseRequest) ([]*Lease, error)
	// Extend gives the leases their full time again and returns those that are
	// lost; their work must stop.
	Extend(ctx context.Context, leases []*Lease) (lost []*Lease, err error)
	// Release gives a lease back unharmed: the task is due at once, and the
	// attempt does not count as lost. ErrLeaseLost if it was not held.
	Release(ctx context.Context, l *Lease) error
	// Reclaim makes every task leased by owner due again at once and counts it
	// as lost, as if the leases had expired. It is for the successor of a
	// process that is known to be dead. It returns how many there were.
	Reclaim(ctx context.Context, owner string) (int, error)
	// Held returns those of the leases that are lost, as Extend does, and
	// extends none: a worker asks often, to learn that a task was cancelled.
	Held(ctx context.Context, leases []*Lease) (lost []*Lease, err error)
}
