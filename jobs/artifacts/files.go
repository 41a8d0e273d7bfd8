package artifacts

import (
	"context"
	"errors"
	"io"
	"regexp"
	"time"

	"github.com/galeserver/gale/uploads"
)

// ErrName is the error of Create for an invalid name of an artifact.
var ErrName = errors.New("invalid artifact name: 1 to 128 letters, digits, dots, underscores and hyphens, no leading dot")

// errEnded is the error of a Write or Close after Close or Discard.
var errEnded = errors.New("artifact is already closed, or the attempt has ended")

// Files stores the files of tasks. Folder and Bucket implement it. All methods may be
// called from several goroutines and processes at once.
type Files interface {
	// Create starts a file of an attempt at a task. The file is written within ctx. It is
	// visible to Open when Close of the Writer has returned nil, and replaces a file with
	// the same name. The error wraps ErrName if the name is invalid, and
	// uploads.ErrUnavailable if the storage does not respond.
	Create(ctx context.Context, id, name string, attempt int) (Writer, error)
	// Open opens a file of a task for reading, within ctx. Errors wrap fs.ErrNotExist, also
	// if the id or name is invalid, and uploads.ErrUnavailable.
	Open(ctx context.Context, id, name string) (uploads.Content, error)
	// Clean removes the partial files of a task that killed attempts have left. It must
	// not be called while an attempt of the task is running.
	Clean(id string)
	// Expire calls gone with the id of each task that has files. It removes the files of
	// the tasks for which gone returns true, if they were last changed before old, and
	// returns the number of these tasks. It may skip tasks whose files are not old enough.
	// It ends with the first error of gone.
	Expire(ctx context.Context, old time.Time, gone func(id string) (bool, error)) (tasks int, err error)
	// Close releases the resources of all files. No file may be in use.
	Close() error
}

// Writer is a file of a task that is being written. Its methods may be called from several
// goroutines.
type Writer interface {
	// Write appends to the file. If it fails, Close returns the error, and there is no
	// file.
	io.Writer
	// Close makes the file durable and visible. Without an error, the file is complete.
	// A second call returns an error.
	io.Closer
	// Discard removes the file, unless Close was called.
	Discard()
}

var namePattern = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$`)

func validArtifact(name string) bool {
	return namePattern.MatchString(name)
}
