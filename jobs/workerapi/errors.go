package workerapi

import (
	"errors"
	"fmt"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/uploads"
)

// Error is a refused request or entry. Its text is for the worker.
type Error struct {
	// Code is an HTTP status: 400 for an invalid value, 409 for a lease that is not
	// current, 410 for an unknown session, 413 for a value that is too large, 503 while
	// the task store is unavailable.
	Code   int
	Reason string
}

func (e Error) Error() string { return e.Reason }

// Codes of errors and results.
const (
	codeOK          = 200
	codeInvalid     = 400
	codeUnknownTask = 404
	codeNotCurrent  = 409
	codeNoSession   = 410
	codeTooLarge    = 413
	codeFailed      = 500
	codeUnavailable = 503
)

func invalid(format string, args ...any) error {
	return Error{codeInvalid, fmt.Sprintf(format, args...)}
}

func tooLarge(what string, size, limit int) error {
	return Error{codeTooLarge, fmt.Sprintf("%s: %d bytes, more than the limit of %d", what, size, limit)}
}

var (
	errNoSession  = Error{codeNoSession, "session: unknown or ended; announce again"}
	errNotCurrent = Error{codeNotCurrent, "lease: not current; the task was cancelled, or another worker has it"}
)

// Result is the response to one entry of a list.
type Result struct {
	Lease string `json:"lease"`
	// Code is 200, or that of an Error.
	Code int `json:"code"`
	// State is the state of the task after Finish or Release.
	State jobs.State `json:"state,omitempty"`
	// Reason says what is wrong, if Code is not 200.
	Reason string `json:"reason,omitempty"`
}

// resultOf returns the result of an entry.
func (s *Service) resultOf(lease string, state jobs.State, err error) Result {
	if err == nil {
		return Result{Lease: lease, Code: codeOK, State: state}
	}
	e := s.explain(err)
	return Result{Lease: lease, Code: e.Code, Reason: e.Reason}
}

// explain converts an error of the task store or a Client to an Error. It logs an error
// that is not the fault of the worker.
func (s *Service) explain(err error) Error {
	if e, ok := errors.AsType[Error](err); ok {
		return e
	}
	for _, each := range []struct {
		is   error
		code int
	}{{jobs.ErrUnknownTask, codeUnknownTask}, {jobs.ErrArgs, codeInvalid}, {jobs.ErrOption, codeInvalid}, {jobs.ErrTaken, codeNotCurrent}} {
		if errors.Is(err, each.is) {
			return Error{each.code, err.Error()}
		}
	}
	switch {
	case errors.Is(err, jobs.ErrLeaseLost), errors.Is(err, jobs.ErrNotFound):
		return errNotCurrent
	case errors.Is(err, jobs.ErrUnavailable):
		s.log.Warn("cannot serve a call of a worker", "error", err)
		return Error{codeUnavailable, "the task store is not available, try again"}
	case errors.Is(err, uploads.ErrUnavailable):
		s.log.Warn("cannot store or find an artifact of a worker", "error", err)
		return Error{codeUnavailable, "the file store is not available, try again"}
	}
	s.log.Error("call of a worker failed", "error", err)
	return Error{codeFailed, "internal error"}
}
