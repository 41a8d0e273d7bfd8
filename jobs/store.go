package jobs

import "context"

// Store is what a Client works on. What the authors of stores and workers need
// besides is in jobs/driver.
type Store interface {
	Reader
	Changer

	// Enqueue accepts a task; when it returns without error the task survives
	// kill -9 and power loss. The same ID twice is one task: the second call
	// changes nothing and returns the first's as it stands, created false. So
	// does a second one of the same name with the same n.Unique within the
	// first's UniqueFor, whatever has become of that. The ids of n.Followers are
	// reserved in the same step, for as long as those tasks may still be accepted:
	// until the one before them has ended with Success without them, is gone, or the
	// workflow was cancelled.
	//
	// Errors wrap ErrUnavailable if it could not be written. They wrap ErrTaken,
	// and nothing is accepted, if n.ID is reserved or a group's, if one of
	// n.Followers is anybody's, or n.Digest differs.
	Enqueue(ctx context.Context, n NewTask) (t *Task, created bool, err error)
	// EnqueueGroup accepts all members in one step, with the same promise. The
	// same ID twice is one group, created false, unless g.Digest differs. The ids of the
	// callback and of all Followers are reserved. If one of g.IDs is anybody's the
	// error wraps ErrTaken, and nothing is accepted.
	EnqueueGroup(ctx context.Context, g NewGroup) (created bool, err error)
	// List returns the tasks asked for, in the reverse order of acceptance. A
	// task that is accepted meanwhile is on no later page.
	List(ctx context.Context, q Query) (*Page, error)
}

// Reader looks at tasks. One that has ended, and a group whose members all
// have, is there for as long as the store keeps it (DefaultKeep), then gone; its
// id is free again. A task that has not ended never expires.
type Reader interface {
	// Get returns the task, or ErrNotFound.
	Get(ctx context.Context, id string) (*Task, error)
	// Watch waits until the task's Version is greater than after, then returns
	// it; a change made by another process is seen within 100 ms. It returns
	// ErrNotFound, or context.Cause(ctx) when ctx ends first.
	Watch(ctx context.Context, id string, after int64) (*Task, error)
	// Group returns how far the group is, or ErrNotFound.
	Group(ctx context.Context, id string) (*Group, error)
	// Log returns what AppendLog has kept of all attempts, or ErrNotFound.
	Log(ctx context.Context, id string) (string, error)
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
