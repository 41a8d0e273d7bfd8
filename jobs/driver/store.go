package driver

import (
	"context"
	"encoding/json"
	"time"

	"github.com/galeserver/gale/jobs"
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
	jobs.Store
	Leaser
	Recorder
	Gauger
	Marker
	// Close releases the store; leases that are held stay until they expire.
	Close() error
}

// Gauger says how much there is to do.
type Gauger interface {
	// Depth returns a Depth for each queue in which something waits, runs or is
	// dead, and for each that is paused, sorted by name. It may read all of that.
	Depth(ctx context.Context) ([]Depth, error)
}

// Depth is what a queue holds now.
type Depth struct {
	Queue     string        `json:"queue"`
	Waiting   int           `json:"waiting"`   // due, and with no worker
	Scheduled int           `json:"scheduled"` // not due yet: an eta, or the next attempt
	Running   int           `json:"running"`   // with a worker
	Dead      int           `json:"dead"`      // dead letters that are still kept
	Oldest    time.Duration `json:"-"`         // how long the oldest of Waiting has been due; 0 if none is
	Paused    bool          `json:"paused"`    // nothing is leased from it

	// Broken is why the store cannot serve the queue; empty if it can.
	Broken string `json:"broken,omitempty"`
}

// MarshalJSON writes Oldest as oldest_seconds.
func (d Depth) MarshalJSON() ([]byte, error) {
	type plain Depth
	return json.Marshal(struct {
		plain
		Oldest float64 `json:"oldest_seconds"`
	}{plain(d), d.Oldest.Seconds()})
}

// Marker remembers moments by name, for as long as the store.
type Marker interface {
	// Mark moves the named mark forward to a moment, of which microseconds are
	// kept, and returns where it was: zero if it is new. It never moves back.
	Mark(ctx context.Context, name string, to time.Time) (was time.Time, err error)
}
