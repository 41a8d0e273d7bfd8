package uploads

import (
	"errors"
	"syscall"
)

// Errors of an upload that the client caused. ErrorResponse and NewFile put the text
// of these errors, and of those that WithReason returns, into the response. The text
// of any other error stays on the server.
var (
	// ErrName is for a name that CheckName refuses, or that contains a symbolic
	// link.
	ErrName = errors.New("unacceptable name")
	// ErrExists is for a name that is in use, or a directory that is a file.
	ErrExists = errors.New("already exists")
	// ErrTooLarge is for a file over Options.MaxFile, or a text field over
	// Options.MaxField.
	ErrTooLarge = errors.New("too large")
	// ErrQuota is for a file with which a quota would be exceeded. A full disk is another
	// error: it wraps ENOSPC.
	ErrQuota = errors.New("over quota")
	// ErrMalformed is for a body that is not a complete form.
	ErrMalformed = errors.New("malformed form")
	// ErrNoFile is for a form without files.
	ErrNoFile = errors.New("no file")
	// ErrMissing is for a missing argument. This package does not return it; it is
	// for callers that have arguments of their own.
	ErrMissing = errors.New("missing argument")
	// ErrFormat is for a file type that is not accepted. This package does not
	// return it; it is for callers that check file types.
	ErrFormat = errors.New("format not supported")
	// ErrDigest is for bytes that do not have the digest that the client sent.
	ErrDigest = errors.New("digest does not match")
	// ErrUnavailable is for object storage that cannot be reached or does not respond.
	// The client may try again later.
	ErrUnavailable = errors.New("file store unavailable")
	// ErrBody is for a body that could not be read to its end. The error of the
	// reader is wrapped too.
	ErrBody = errors.New("incomplete request body")
)

// reasonError is an error whose whole text may be sent to the client.
type reasonError struct {
	kind   error // one of the errors above
	reason string
}

// WithReason returns an error that wraps kind, one of the Err variables of this package.
// Its text is that of kind, a colon and reason. The client gets this text, so reason
// must contain nothing internal. It begins in lower case.
func WithReason(kind error, reason string) error { return &reasonError{kind, reason} }

func (e *reasonError) Error() string { return e.kind.Error() + ": " + e.reason }
func (e *reasonError) Unwrap() error { return e.kind }

// isDiskFull reports whether err means that the disk, or the user's disk quota, is
// full.
func isDiskFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// IsOutOfFiles reports whether err means that the process, or the system, has too many files
// open. Nothing is wrong with the upload: the client may try again later.
func IsOutOfFiles(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}
