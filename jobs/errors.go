package jobs

import (
	"errors"
	"fmt"
)

// Errors of a Store.
var (
	// ErrNotFound: no task or group has the id. It may have ended so long ago that
	// the store no longer keeps it.
	ErrNotFound = errors.New("no such task")
	// ErrTaken: an id of the task or workflow that was to be accepted is in use or is
	// reserved; the error says which. It is a driver.TakenError.
	ErrTaken = errors.New("id is taken")
	// ErrLeaseLost: the attempt is not the current one of its task. Another worker
	// has the task, or the task has ended. Nothing was changed.
	ErrLeaseLost = errors.New("lease lost")
	// ErrUnavailable: the store cannot be used now, because its disk is full, its file
	// is locked or its server is unreachable; the error says why. Nothing was changed,
	// except perhaps in a store on another machine whose response was lost or late. To
	// repeat the call with the same id or lease is safe in both cases.
	ErrUnavailable = errors.New("task store is unavailable")
	// ErrState: the state of the task or workflow does not allow the change; the error
	// says why. Nothing was changed. It is a driver.StateError.
	ErrState = errors.New("not possible in this state")
)

// Causes with which the context of a handler ends, besides ErrLeaseLost.
var (
	// ErrTimeout: the time limit of the attempt is over.
	ErrTimeout = errors.New("timed out")
	// ErrShutdown: the worker stops. The task goes to another worker.
	ErrShutdown = errors.New("worker is stopping")
	// ErrCancelled: the task was cancelled. Its state is final, so what the handler
	// still reports or returns is dropped. It wraps ErrLeaseLost.
	ErrCancelled = fmt.Errorf("task was cancelled: %w", ErrLeaseLost)
)
