package jobs

import "context"

// Store is the part of a task store that a Client uses. jobs/driver has the methods that
// workers use.
type Store interface {
	Reader
	Changer

	// Enqueue accepts a task. When it returns without an error, the task survives
	// kill -9 and power loss.
	//
	// If the store already has a task with this ID, Enqueue changes nothing and returns
	// that task with created false. The same applies if a task with the same Name and
	// Unique was accepted less than its UniqueFor ago, even if that task has ended.
	//
	// The ids in n.Followers are reserved in the same step. The reservation of a follower
	// ends when the task before it succeeds without enqueueing it or is removed, or when
	// the workflow is cancelled.
	//
	// The error wraps ErrUnavailable if the task could not be written. It wraps
	// ErrTaken if n.ID is reserved or is the id of a group, if one of n.Followers is in
	// use, or if the task with n.ID has another Digest; then nothing is accepted.
	Enqueue(ctx context.Context, n NewTask) (t *Task, created bool, err error)
	// EnqueueGroup accepts all members in one step, as durably as Enqueue. If the store
	// already has a group with this ID, nothing changes and created is false, unless both
	// have a Digest and these differ.
	// The ids of the callback and of all Followers are reserved. If one of g.IDs is in use
	// otherwise, the error wraps ErrTaken and nothing is accepted.
	EnqueueGroup(ctx context.Context, g NewGroup) (created bool, err error)
	// List returns the tasks that match q, the newest first. A task that is accepted after
	// the first page was read does not appear on later pages.
	List(ctx context.Context, q Query) (*Page, error)
}

// Reader reads tasks. The store keeps a task that has ended, and a group whose members
// have all ended, for a retention time (driver.DefaultKeep, 7 days). Then the store removes
// it, and its id is free again. A task that has not ended is never removed.
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

// Changer has the operations with which an operator changes tasks and queues.
type Changer interface {
	// Cancel ends a task as StateCancelled at once. A task that waits never starts. A
	// task that runs loses its lease; its worker ends the attempt, and the result of
	// the attempt is dropped. A group counts the task as failed. Cancel returns the
	// task, also if it was cancelled before. Errors wrap ErrNotFound, or ErrState if the
	// task has ended in another state.
	Cancel(ctx context.Context, id string) (*Task, error)
	// CancelWorkflow cancels all waiting and running tasks of a workflow in one step, each
	// as Cancel does. id is that of a group, or of the first task of a chain. No further
	// task of the workflow is accepted, a callback ends as StateCancelled, and the
	// reserved ids are free again. It returns nil if the workflow was cancelled before.
	// Errors wrap ErrNotFound, or ErrState if no task of the workflow waits or runs.
	CancelWorkflow(ctx context.Context, id string) error
	// Requeue makes a failed, cancelled or dead task due again. The count of its lost
	// leases starts at zero again. Its failures remain counted, so it gets no new retries.
	// Errors wrap ErrNotFound, or ErrState for a task in another state, a member of a
	// group, a callback whose group failed, and a task that CancelWorkflow has ended.
	Requeue(ctx context.Context, id string) (*Task, error)
	// Pause keeps all workers from starting tasks of a queue until Resume is called.
	// Running tasks continue, and new tasks are accepted. It returns nil if the queue is
	// already paused.
	Pause(ctx context.Context, queue string) error
	// Resume lets workers start tasks of a paused queue again. It returns nil if the queue
	// is not paused.
	Resume(ctx context.Context, queue string) error
	// Purge cancels the tasks with these ids and returns their number. Tasks in a state
	// that is not in states, and unknown ids, are skipped. Either all other tasks become
	// StateCancelled or none. At most MaxPage ids are allowed. states may contain only the
	// states in driver.Purgeable, so running tasks cannot be purged. A group counts a
	// purged task as failed; a dead task was counted before and is not counted again.
	Purge(ctx context.Context, ids []string, states []State) (int, error)
}
