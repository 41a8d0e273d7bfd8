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
	// ErrTaken: the task or workflow was not accepted, because one of its ids is in use or
	// reserved. The error is a driver.TakenError, which names the id.
	ErrTaken = errors.New("id is taken")
	// ErrLeaseLost: the attempt is not the current one of its task. Another worker
	// has the task, or the task has ended. Nothing was changed.
	ErrLeaseLost = errors.New("lease lost")
	// ErrUnavailable: the store cannot be used now, because its disk is full, its file
	// is locked or its server is unreachable; the error says why. Usually nothing was
	// changed. If the response of a store on another machine was lost or late, the change
	// may have been made. It is safe to repeat the call with the same id or lease.
	ErrUnavailable = errors.New("task store is unavailable")
	// ErrState: the state of the task or workflow does not allow the change; the error
	// says why. Nothing was changed. It is a driver.StateError.
	ErrState = errors.New("not possible in this state")
)

// Causes of the end of a handler's context. ErrLeaseLost is another one.
var (
	// ErrTimeout: the time limit of the attempt is over.
	ErrTimeout = errors.New("timed out")
	// ErrShutdown: the worker stops. The task goes to another worker.
	ErrShutdown = errors.New("worker is stopping")
	// ErrCancelled: the task was cancelled. Its state is final, so further reports of the
	// handler and its result are dropped. ErrCancelled wraps ErrLeaseLost.
	ErrCancelled = fmt.Errorf("task was cancelled: %w", ErrLeaseLost)
)
