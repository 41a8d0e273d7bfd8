package driver

import (
	"context"
	"encoding/json"
	"time"

	"github.com/galeserver/gale/jobs"
)

// Defaults of all stores.
const (
	// DefaultLeaseTTL is the time after which a lease expires unless it is extended.
	// Shorter times caused duplicate attempts under lock contention.
	DefaultLeaseTTL = 30 * time.Second
	// DefaultMaxLost is the number of lost leases after which a task is dead.
	DefaultMaxLost = 5
	// SuspectAfter is the number of lost leases after which a task is a suspect, see
	// Leaser.
	SuspectAfter = 2
	// DefaultKeep is the retention time of tasks and groups that have ended.
	DefaultKeep = 7 * 24 * time.Hour
)

// Store is a task store. It keeps a task until it has ended, and its result for the
// retention time after that. The delivery guarantee depends on it: once Enqueue has
// returned without an error, the task is on disk, and it is leased again and again until an
// attempt is finished.
//
// All methods may be called from many goroutines and processes at once.
type Store interface {
	jobs.Store
	Leaser
	Recorder
	Remote
	Keeper
	Gauger
	Marker
	// Close releases the store. Current leases stay valid until they expire.
	Close() error
}

// Gauger measures the queues.
type Gauger interface {
	// Depth returns a Depth for each queue that has waiting, running or dead tasks or is
	// paused, sorted by name. It may read all of these tasks.
	Depth(ctx context.Context) ([]Depth, error)
}

// Depth counts the tasks of a queue.
type Depth struct {
	Queue     string        `json:"queue"`
	Waiting   int           `json:"waiting"`   // due, but not leased
	Scheduled int           `json:"scheduled"` // not due yet: RunAt is in the future
	Running   int           `json:"running"`   // leased by a worker
	Dead      int           `json:"dead"`      // dead letters
	Oldest    time.Duration `json:"-"`         // time since the oldest waiting task became due; 0 if none waits
	Paused    bool          `json:"paused"`    // true if no tasks are leased from the queue

	// Unclaimed counts the waiting tasks that no live worker can run. The store leaves it
	// zero; see workerapi.Directory.
	Unclaimed int `json:"unclaimed,omitempty"`

	// Broken is the reason why the store cannot serve the queue; empty if it can.
	Broken string `json:"broken,omitempty"`
}

// MarshalJSON encodes Oldest as oldest_seconds.
func (d Depth) MarshalJSON() ([]byte, error) {
	type plain Depth
	return json.Marshal(struct {
		plain
		Oldest float64 `json:"oldest_seconds"`
	}{plain(d), d.Oldest.Seconds()})
}

// Marker stores times by name and never removes them. The scheduler uses it to remember the
// last occurrence of a periodic task.
type Marker interface {
	// Mark stores the time to under the name if it is later than the stored time, with a
	// precision of one microsecond. It returns the time that was stored before, or zero if
	// there was none.
	Mark(ctx context.Context, name string, to time.Time) (was time.Time, err error)
}
