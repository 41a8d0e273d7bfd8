package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"time"
)

var (
	// ErrNotFound: no task has that id.
	ErrNotFound = errors.New("no such task")
	// ErrTaken: an id that something was to be accepted with belongs to something
	// else, see TakenError.
	ErrTaken = errors.New("id is taken")
	// ErrLeaseLost: the attempt that speaks is not the task's current one;
	// another worker has it, or it has ended. Nothing was changed.
	ErrLeaseLost = errors.New("lease lost")
	// ErrUnavailable: the store cannot answer now (disk full, locked, gone).
	// Adapters wrap it around the cause. What was asked for has not happened,
	// unless the store is on another machine and the answer was lost or late:
	// whoever asks again with the same id or lease is safe either way.
	ErrUnavailable = errors.New("task store is unavailable")
)

// Defaults that every store shares.
const (
	// DefaultLeaseTTL is how long a task stays with a worker that has not
	// been heard of. Shorter gave duplicates under lock contention.
	DefaultLeaseTTL = 30 * time.Second
	// DefaultMaxLost is how often a task may take its worker down, or be with
	// one that goes down, before it is dead.
	DefaultMaxLost = 5
	// SuspectAfter is how many lost leases make a task a suspect, see Leaser.
	SuspectAfter = 2
	// DefaultKeep is how long a task that has ended can be looked at.
	DefaultKeep = 7 * 24 * time.Hour
)

// Store keeps accepted tasks until they have ended, and their results after.
// The delivery guarantee rests on it: once Enqueue has returned, the task is
// on disk and will be leased, again and again if need be, until an attempt of
// it is finished. Every implementation passes the suite in jobs/jobstest.
//
// All methods may be called from many goroutines and processes at once.
type Store interface {
	Enqueuer
	Reader
	Leaser
	Recorder
	Gauger
	Lister
	Changer
	Marker
	// Close releases the store; leases that are held stay until they expire.
	Close() error
}

// Enqueuer accepts tasks.
type Enqueuer interface {
	// Enqueue accepts a task; when it returns without error the task survives
	// kill -9 and power loss. The same ID twice is one task: the second call
	// changes nothing and returns the first's as it stands, created false. So
	// does a second one of the same name with the same n.Unique within the
	// first's UniqueFor, whatever has become of that. The ids of n.Followers are
	// reserved in the same step, for as long as those tasks may still be accepted:
	// until the one before them has ended with Success without them, is gone, or the
	// workflow was cancelled.
	//
	// Errors wrap ErrUnavailable if it could not be written. They are a TakenError,
	// and nothing is accepted, if n.ID is reserved or a group's, if one of
	// n.Followers is anybody's, or by n.Conflict.
	Enqueue(ctx context.Context, n NewTask) (t *Task, created bool, err error)
	// EnqueueGroup accepts all members in one step, with the same promise. The
	// same ID twice is one group, created false, but for g.Conflict. The ids of the
	// callback and of all Followers are reserved. If one of g.IDs is anybody's the
	// error is a TakenError, and nothing is accepted.
	EnqueueGroup(ctx context.Context, g NewGroup) (created bool, err error)
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

// Gauger says how much there is to do.
type Gauger interface {
	// Depth returns a Depth for each queue in which something waits, runs or is
	// dead, and for each that is paused, sorted by name. It may read all of that.
	Depth(ctx context.Context) ([]Depth, error)
}

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
	Rates map[string]Rate
	// Max is how many to lease at most.
	Max int
}

// Lease is one attempt at a task. Attempt and Owner fence it: whatever is said
// of a task with a lease that is no longer its current one is refused.
type Lease struct {
	Task    *Task // as it is at the start of this attempt
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

// Outcome is how an attempt ended.
type Outcome struct {
	// State is Success, Failed, Retrying, Cancelled or Dead.
	State State
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
	Next []NewTask
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

// Marker remembers moments by name, for as long as the store.
type Marker interface {
	// Mark moves the named mark forward to a moment, of which microseconds are
	// kept, and returns where it was: zero if it is new. It never moves back.
	Mark(ctx context.Context, name string, to time.Time) (was time.Time, err error)
}
