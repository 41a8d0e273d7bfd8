package uploads

import (
	"errors"
	"syscall"
)

// Reasons to refuse an upload. The text of these errors, and of those that WithReason
// returns, may be shown to the client; ErrorResponse shows no other.
var (
	// ErrName: the name breaks CheckName's rule, or a symbolic link is in it.
	ErrName = errors.New("unacceptable name")
	// ErrExists: something has the name already, or a file stands where the
	// directory should be.
	ErrExists = errors.New("already exists")
	// ErrTooLarge: a file over Options.MaxFile, or too many bytes in a form
	// that are no file's.
	ErrTooLarge = errors.New("too large")
	// ErrMalformed: the body is not a form, or not a whole one.
	ErrMalformed = errors.New("malformed form")
	// ErrNoFile: a form without a file.
	ErrNoFile = errors.New("no file")
	// ErrMissing: an argument is missing. For callers with arguments of
	// their own.
	ErrMissing = errors.New("missing argument")
	// ErrFormat: a file of a kind that is not taken. For callers who look at
	// that.
	ErrFormat = errors.New("format not supported")
	// ErrDigest: the bytes are not those that Digests announced.
	ErrDigest = errors.New("digest does not match")
	// ErrBody: reading the body failed; the reader's error is wrapped too.
	ErrBody = errors.New("the body broke off")
)

// refusal is an error whose text may be shown to the client.
type refusal struct {
	kind error // a sentinel above
	why  string
}

// WithReason is kind, one of the sentinels above, with a reason that the client is
// shown: lower case, and nothing in it that is not the client's to know.
func WithReason(kind error, why string) error { return &refusal{kind, why} }

func (r *refusal) Error() string { return r.kind.Error() + ": " + r.why }
func (r *refusal) Unwrap() error { return r.kind }

// full reports whether err means that the disk, or the share of it that this
// user may have, is used up.
func isDiskFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
