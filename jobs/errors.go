package jobs

import (
	"errors"
	"fmt"
)

var (
	// ErrNotFound: no task has that id.
	ErrNotFound = errors.New("no such task")
	// ErrTaken: an id of the task or workflow that was to be accepted is in use or is
	// reserved; the error says which. It is a driver.TakenError.
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

// ErrState: the state of the task or workflow does not allow the change; the error
// says why. Nothing was changed. It is a driver.StateError.
var ErrState = errors.New("not possible in this state")

// Why a handler's context ends.
var (
	ErrTimeout  = errors.New("timed out")
	ErrShutdown = errors.New("worker is stopping")
)

// ErrCancelled is why the context of a handler ends whose task was cancelled. It
// wraps ErrLeaseLost: the task has come to its end, and nothing that the
// handler still says or returns is kept.
var ErrCancelled = fmt.Errorf("task was cancelled: %w", ErrLeaseLost)
