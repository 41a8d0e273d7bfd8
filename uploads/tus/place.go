package tus

import (
	"context"
	"io"
	"net/http"
	"time"

	"github.com/galeserver/gale/uploads"
)

// Place keeps uploads: the received bytes and the state of unfinished ones, and for some
// time the state of those that have ended. Folder is a Place, and package s3 makes one in object
// storage. Package tustest checks one. The methods may be called from several goroutines
// at once, and several processes may use the same place. Errors that wrap ErrName,
// ErrExists, ErrUnavailable or ENOSPC have the meaning that these have in package uploads; all
// errors that are not described here or there are internal errors.
type Place interface {
	// Create creates an upload and holds it. The error is ErrFull if that would exceed the
	// limits, and ErrHeld if another request is creating an upload of the same id. An
	// upload of the same id that was discarded or has expired is replaced.
	Create(ctx context.Context, s State, l Limits) (Held, error)
	// Hold waits until the upload is not held by another request, and holds it. The
	// other request learns from Held.Wanted that it should end. If ctx ends first, the error
	// is its cause. Without the upload it is ErrNotFound, and ErrUnreadable if the state
	// is lost.
	Hold(ctx context.Context, id string) (Held, State, error)
	// Look returns the last saved state, whether or not the upload is held. The errors
	// are those of Hold.
	Look(ctx context.Context, id string) (State, error)
	// Open opens the content of a complete partial upload for reading, from a position
	// on. Without the upload the error is ErrNotFound.
	Open(ctx context.Context, id string, from int64) (io.ReadCloser, error)
	// Sweep holds each upload that may need work, and calls visit for it, except for those that
	// requests hold. It removes the state of uploads that ended longer than retention
	// ago. It does nothing if another process sweeps, or has done so recently. After an
	// error Sweep continues with the next upload, and returns all errors joined.
	Sweep(ctx context.Context, retention time.Duration, visit func(Held, State) error) error
}

// Held is an upload that a request holds. One goroutine at a time uses it, with two
// exceptions: Wanted may be called at any time, and Save during writes to the Upload if
// Pace.Overlap is set.
type Held interface {
	// Wanted reports whether the holder should end, because another request waits or has
	// taken the upload over.
	Wanted() bool
	// Reserve ensures that the upload can grow to a length without exceeding the limits. With
	// length -1, which is for an upload of unknown length, it checks that the limits are not
	// exceeded already. The error is ErrFull.
	Reserve(ctx context.Context, length int64, l Limits) error
	// Resume returns an Upload that appends at the saved offset. After Publish, Pause or
	// Discard of it, Resume may be called again. Publish also succeeds if an earlier call
	// in any process has published the file. Then, or if the name is in use, the file of
	// that name is not changed.
	Resume(ctx context.Context) (*uploads.Upload, Pace, error)
	// Save makes the bytes up to p.Offset durable, and then p. It sets p.Seq. If p has
	// ended, it removes the bytes. After an error the previous state is still saved; it is
	// ErrTaken if another request has taken the upload over, and then this one can save
	// nothing more.
	Save(ctx context.Context, p Progress) error
	// Close ends the hold.
	Close()
}

// Limits are limits of all unfinished uploads of a Place together.
type Limits struct {
	Bytes   int64 // an upload of known length counts with it, another one with the received bytes
	Uploads int
}

// Pace says when a Place wants checkpoints: after a number of bytes, or after some time if
// they arrive slowly.
type Pace struct {
	Bytes int64
	Time  time.Duration
	// Overlap is true if Save may run while further bytes are written.
	Overlap bool
}

// Errors of a Place.
var (
	ErrNotFound       = newError(http.StatusNotFound, "no such upload")
	ErrHeld           = newError(http.StatusLocked, "upload locked by another request, try again")
	ErrTaken          = newError(http.StatusLocked, "upload taken over by another request")
	ErrFull     error = &requestError{status: http.StatusInsufficientStorage, reason: "too many unfinished uploads on the server, try again later",
		header: [][2]string{{"Retry-After", "60"}}}
	// ErrUnreadable is for a state without valid content: the process that created it was
	// killed, or the content is lost.
	ErrUnreadable = newError(http.StatusGone, "state of the upload unreadable")
)
