package driver

import (
	"context"
	"time"
)

// Record is a small value that all processes share, for example the session of a worker.
type Record struct {
	Key   string
	Value []byte // must not be changed
}

// Keeper stores records by kind and key for a limited time. A record survives kill -9; a
// power failure may undo the last changes.
type Keeper interface {
	// PutRecord stores a record for the time keep, and replaces the record with the same
	// kind and key.
	PutRecord(ctx context.Context, kind string, r Record, keep time.Duration) error
	// Record returns the value of a record. The error wraps jobs.ErrNotFound if there is
	// none or its time is over.
	Record(ctx context.Context, kind, key string) ([]byte, error)
	// Records returns all records of a kind, sorted by key.
	Records(ctx context.Context, kind string) ([]Record, error)
	// RemoveRecord removes a record, if it exists.
	RemoveRecord(ctx context.Context, kind, key string) error
}
