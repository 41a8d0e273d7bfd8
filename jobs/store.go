package jobs

import "context"

// Store is what a Client needs of a task store. jobs/driver has the methods that
// workers need.
type Store interface {
	Reader
	Changer

	// Enqueue accepts a task. When it returns without an error, the task survives
	// kill -9 and power loss.
	//
	// The same ID twice is one task: the second call changes nothing and returns the
	// first task as it is now, with created false. The same holds for a second task
	// with the same Name and Unique within the UniqueFor of the first, in whatever
	// state the first is.
	//
	// The ids in n.Followers are reserved in the same step. A reservation ends when
	// the task before it succeeds without enqueueing that follower, when the task
	// before it is removed, or when the workflow is cancelled.
	//
	// The error wraps ErrUnavailable if the task could not be written. It wraps
	// ErrTaken if n.ID is reserved or is the id of a group, if one of n.Followers is in
	// use, or if the task with n.ID has another Digest; then nothing is accepted.
	Enqueue(ctx context.Context, n NewTask) (t *Task, created bool, err error)
	// EnqueueGroup accepts all members in one step, as durably as Enqueue. The same ID
	// twice is one group, created false, unless the Digest differs. The ids of the
	// callback and of all Followers are reserved. If one of g.IDs is in use, the error
	// wraps ErrTaken and nothing is accepted.
	EnqueueGroup(ctx context.Context, g NewGroup) (created bool, err error)
	// List returns the tasks that match q, the newest first. A task that is accepted
	// meanwhile does not appear on later pages.
	List(ctx context.Context, q Query) (*Page, error)
}

// Reader reads tasks. The store keeps a task that has ended, and a group whose members
// have all ended, for a retention time (driver.DefaultKeep). Then it is removed and its
// id is free again. A task that has not ended is never removed.
type Reader interface {
	// Get returns the task, or ErrNotFound.
	Get(ctx context.Context, id string) (*Task, error)
	// Watch waits until the Version of the task is greater than after, then returns
	// the task. It notices a change by another process within 100 ms. It returns
	// ErrNotFound, or context.Cause(ctx) when ctx ends first.
	Watch(ctx context.Context, id string, after int64) (*Task, error)
	// Group returns the group, or ErrNotFound.
	Group(ctx context.Context, id string) (*Group, error)
	// Log returns the log lines of all attempts, see Job.Log, or ErrNotFound.
	Log(ctx context.Context, id string) (string, error)
}

// Changer makes the changes to tasks and queues that an operator asks for.
type Changer interface {
	// Cancel ends a task as StateCancelled at once. A task that waits never starts. A
	// task that runs loses its lease; its worker ends the attempt, and the result of
	// the attempt is dropped. A group counts the task as failed. Cancel returns the
	// task; to cancel it again is no error. Errors wrap ErrNotFound, or ErrState if
	// the task has ended in another state.
	Cancel(ctx context.Context, id string) (*Task, error)
	// CancelWorkflow ends all tasks of a workflow that wait or run, in one step and as
	// Cancel does. id is that of a group, or of the first task of a chain. No further
	// task of the workflow is accepted, a callback ends as StateCancelled, and the
	// reserved ids are free again. To cancel it again is no error. Errors wrap
	// ErrNotFound, or ErrState if no task of the workflow waits or runs.
	CancelWorkflow(ctx context.Context, id string) error
	// Requeue makes a task due again whose state is StateFailed, StateCancelled or
	// StateDead. Lost leases are no longer counted. Failures still are, so retries that
	// were used up are not granted again. Errors wrap ErrNotFound, or ErrState for a
	// task in another state, a member of a group, a callback whose group failed, and a
	// task that CancelWorkflow has ended.
	Requeue(ctx context.Context, id string) (*Task, error)
	// Pause keeps all workers from starting tasks of a queue until Resume is called.
	// Running tasks continue, and new tasks are accepted. To pause twice is no error.
	Pause(ctx context.Context, queue string) error
	// Resume ends Pause. To resume a queue that is not paused is no error.
	Resume(ctx context.Context, queue string) error
	// Purge ends as StateCancelled those of the tasks with these ids whose state is one
	// of states, and returns their number. Either all of them end or none. states may
	// have the states in driver.Purgeable; running tasks cannot be purged. At most
	// MaxPage ids are allowed. Unknown ids are skipped. A group counts a purged task as
	// failed, unless it was dead, which the group has counted already.
	Purge(ctx context.Context, ids []string, states []State) (int, error)
}
