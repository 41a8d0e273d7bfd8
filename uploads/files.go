package uploads

import (
	"context"
	"io"
	"time"
)

// Backend keeps the files of a Store. Open uses a folder. Package s3 makes one for
// object storage, and package uploadstest checks one.
type Backend struct {
	Files   Files
	Journal Journal
	// Quarantine hides files. Nil: Options.Quarantine cannot be used.
	Quarantine Quarantine
	// Close releases the resources of both. Nil: there are none.
	Close func() error
}

// Files are stored files. The methods may be called from several goroutines at once, and
// several processes may use the same files. CheckName has accepted the names that are
// passed to a method. Errors that wrap ErrName, ErrExists, ErrTooLarge, ErrUnavailable,
// fs.ErrNotExist or ENOSPC have the meaning that these have in a Store; all others are
// internal errors.
type Files interface {
	// Create starts a file, which gets its name from Writer.Publish. id is unique to
	// the file. directory and filename are the name that it will get, or empty if that is
	// not known yet.
	Create(ctx context.Context, id, directory, filename string) (Writer, error)
	// Open opens a file for reading. Without such a file the error wraps
	// fs.ErrNotExist.
	Open(ctx context.Context, directory, filename string) (Content, error)
	// Check returns an error that wraps ErrExists if the name is in use.
	Check(ctx context.Context, directory, filename string) error
	// List returns the files and folders of a directory, as Store.List does. The empty
	// directory contains all others.
	List(ctx context.Context, directory, after string, limit int) (entries []Entry, next string, err error)
	// Remove removes a file, and then the folders above it that are empty. Without such
	// a file the error wraps fs.ErrNotExist.
	Remove(ctx context.Context, directory, filename string) error
}

// Writer is a file that is being written. One goroutine at a time uses it.
type Writer interface {
	// Hide makes the file invisible: after Publish its name is in use, but Files.Open and
	// List do not find it, until Quarantine.Release. It is called before the first Write, and
	// only if the backend has a Quarantine.
	Hide(ctx context.Context) error
	// Write appends p. After an error only Close may be called.
	Write(ctx context.Context, p []byte) (int, error)
	// Finish makes everything that was written durable, except the name. sum is the
	// hexadecimal SHA-256 of it. Finish returns the modification time that the file will
	// have, or the zero time if that is not known. A file may grow after Finish; then
	// Finish is called again.
	Finish(ctx context.Context, sum string) (modified time.Time, err error)
	// Publish gives the finished file its name, unless the name is in use: then the
	// error wraps ErrExists, and Publish may be called with another name. After any
	// other error there is no file of that name, except after one that wraps
	// ErrUnavailable: then the file may be there, or get the name a little later. If the
	// file has the name already, Publish does nothing and returns nil.
	Publish(ctx context.Context, directory, filename string) error
	// Close releases the resources of the Writer, and removes the file if it has no
	// name.
	Close()
}

// Content is an open stored file.
type Content interface {
	io.ReadSeekCloser
	// Info describes the file as it was when it was opened.
	Info() Info
}

// Redirector is a Content that clients can also get from another server.
type Redirector interface {
	// URL returns a URL for GET requests, which is valid for the given time, at least a
	// second and at most seven days. It gives access without credentials. The response has
	// that Content-Type and Content-Disposition.
	URL(ctx context.Context, valid time.Duration, contentType, disposition string) (string, error)
}

// Info describes a stored file.
type Info struct {
	Size     int64 // bytes
	Modified time.Time
	// SHA256 is the hexadecimal SHA-256, or empty if it is not known: the file was not
	// stored by a Store, or was changed since then, or the backend could not keep it.
	SHA256 string
	// Version is another text for each content of the file, such as the ETag of object
	// storage. It is empty if the backend has none.
	Version string
}

// Journal keeps records of files for which Options.Stored has not returned nil yet.
type Journal interface {
	// Begin makes a record durable, before the first of its files gets its name.
	Begin(ctx context.Context, files []Pending) (Record, error)
	// Retry calls fn for each file in the records of processes that have ended, if the
	// file is stored and has not been changed or replaced since then. The files for which
	// fn returns nil are removed from the records. Retry returns the number of files that
	// are left because of an error, and the first error.
	Retry(ctx context.Context, fn func(Pending) error) (left int, err error)
}

// Quarantine is for files that Writer.Hide has made invisible. Files.Check and Files.Remove
// find these too. The errors of Release and Reject wrap fs.ErrNotExist if the file of the
// record has been removed, changed or replaced.
type Quarantine interface {
	// OpenHidden is Files.Open, but also opens an invisible file.
	OpenHidden(ctx context.Context, directory, filename string) (Content, error)
	// Release makes the file visible. If it is visible already, Release does nothing.
	Release(ctx context.Context, p Pending) error
	// Reject removes the file, as Files.Remove does.
	Reject(ctx context.Context, p Pending) error
}

// Record is a record of a Journal that this process works on.
type Record interface {
	// End keeps only the files in left in the record. Without files it removes the
	// record. Afterwards Journal.Retry of any process may process the record.
	End(ctx context.Context, left []Pending)
}

// Pending is a file in a Journal. Backends store it as JSON.
type Pending struct {
	ID        string `json:"id"`
	Directory string `json:"directory"`
	Filename  string `json:"filename"`
	Size      int64  `json:"size"`
	Modified  int64  `json:"modified"` // Unix time in ns, as returned by Writer.Finish; 0 if unknown
	SHA256    string `json:"sha256"`
	// Quarantined is true if Options.Quarantine decides about the file.
	Quarantined bool `json:"quarantined,omitempty"`
}

// Check returns an error if p cannot be the JSON that a Store has written.
func (p Pending) Check() error {
	if err := CheckName(p.Directory, p.Filename); err != nil {
		return err
	}
	if !validID(p.ID) {
		return WithReason(ErrName, "invalid id "+shorten(p.ID))
	}
	return nil
}

func (p Pending) file() File {
	f := NewFile(p.Directory, p.Filename, nil)
	f.ID, f.Size, f.SHA256 = p.ID, p.Size, p.SHA256
	return f
}
