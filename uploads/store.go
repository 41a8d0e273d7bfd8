// Package uploads is a file store for uploads, in a folder or on another Backend. A file
// appears under its name only when it is complete and durable. An existing file is never
// replaced, and no name refers to a file outside of the store. The memory needed does not
// depend on the size of the files.
//
// The lifecycle of a file:
//
//	Create ──► unnamed file ──► Write, ReadFrom ──► Publish ──► directory/filename
//	                │                                  │
//	                │ Discard, kill -9                 │ ErrExists: Publish under
//	                ▼                                  ▼ another name, or Discard
//	             no file                            no file
//
// In a folder, a file that is being written has no name (O_TMPFILE, open(2)), so the kernel frees
// it when the process ends in any way. Publish names it with linkat(2), which never
// replaces a file. On file systems without O_TMPFILE the store writes a locked
// temporary file in its folder .incoming instead; the next Open removes those of
// killed processes. The folder and all folders in it must be on one file
// system, and that must support hard links.
//
// Multipart does this for each file of a multipart/form-data body. It names the
// files only after the whole body has arrived.
package uploads

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/galeserver/gale/pool"
)

// Defaults of Options.
const (
	DefaultMaxFile  = 1 << 30
	DefaultMaxParts = 1000
	DefaultMaxFiles = 100
	DefaultMaxHead  = 16 << 10
	DefaultMaxField = 1 << 20
)

// Modes of new folders and files, before the umask. The group may read, so that for
// example a web server in that group can serve the files.
const (
	folderMode = 0o750
	fileMode   = 0o640
)

// noLimit is larger than any file, in bytes, and small enough that sums with it do
// not overflow.
const noLimit = 1 << 62

// Options configure a Store. Each zero field means the documented default.
type Options struct {
	// MaxFile is the size limit of a file, in bytes. Default 1 GiB; negative means
	// no limit.
	MaxFile int64
	// MaxParts is the limit of parts in a form, text fields and files together.
	// Default 1000.
	MaxParts int
	// MaxFiles is the limit of files in a form. Each file needs a file descriptor
	// until the form has been read to its end. Default 100.
	MaxFiles int
	// MaxHead is the size limit of the header of a part, and of the data before
	// the first part, in bytes. Default 16 KiB.
	MaxHead int64
	// MaxField is the size limit of a text field of a form, and of the data after
	// the last part, in bytes. Default 1 MiB.
	MaxField int64
	// Decide decides about each file, before its content is received. Its error refuses the
	// file: a *RefusalError and the errors of this package have their own responses, and any
	// other one is an internal error. It runs in the calling goroutine, may block, and is
	// called from several goroutines at once. Nil: every file is admitted.
	Decide func(ctx context.Context, p Proposal) (Decision, error)
	// Quota limits the sum of the sizes of files. Nil: no limits.
	Quota Quota
	// Quarantine is asked for the verdict about each stored file, with the id that Stored
	// gets. It is called again until it returns another verdict than VerdictPending, also
	// after an error. Until then the name of the file is in use, but Open and List do not find
	// the file. Then the file becomes visible and Stored is called, or the file is removed.
	// This survives the end of all processes: Run of any process with Quarantine set
	// continues. Quarantine may be called from several goroutines at once and for the same
	// file by several processes. Nil: files are visible when they are stored.
	Quarantine func(ctx context.Context, id string, f File) (Verdict, error)
	// Stored is called for each stored file, with an id that is unique to the
	// file. It is called at least once, and again with the same id until it
	// returns nil. Publish and Multipart wait for the first call; its error is
	// returned in File.StoredErr, and the upload succeeds all the same. If Stored
	// returned an error, or the process was killed before it returned, Run makes
	// the next call, in any process that has the folder open with Stored set. It
	// may be called from several goroutines at once. Nil: no call, and no pending
	// records are written.
	Stored func(ctx context.Context, id string, f File) error
	// StoredFilter reports whether Stored is to be called for the file. It must
	// not block. Nil: Stored is called for every file.
	StoredFilter func(directory, filename string) bool
	// Pool runs the work on the disk. Nil: the calling goroutine runs it. A store in
	// object storage needs no pool.
	Pool *pool.Pool
	// Meter counts uploads. Nil: uploads are not counted.
	Meter Meter
	// Logger gets a line for each file that is stored or removed, and the internal
	// errors, which are not sent to clients. Nil: nothing is logged.
	Logger *slog.Logger
}

// Store stores uploaded files. Open makes one on a folder, and New on another backend. Its
// methods may be called from several goroutines at once, and several processes may use
// the same files.
type Store struct {
	options Options
	log     *slog.Logger
	backend Backend
	disk    *disk // folder of the store; nil in a store of another backend

	largeChunks chan struct{} // semaphore: one element for each chunk in use
	chunks      sync.Pool     // of *chunk
	smallChunks sync.Pool     // of *smallChunk

	mu      sync.Mutex
	held    []*held // records of files in quarantine
	running bool    // true while Run takes care of held
}

// Open opens the folder dir, and creates it with its parents if it is missing (mode
// 0750). It checks that files can be written and named there, and removes the
// temporary files that killed processes left in its folder .incoming. On a full disk
// Open succeeds, because the stored files can still be read.
func Open(dir string, o Options) (*Store, error) { return open(dir, o, realSyscalls()) }

func open(dir string, o Options, sys syscalls) (*Store, error) {
	d, err := openDisk(dir, o.Logger, sys)
	if err != nil {
		return nil, err
	}
	s := New(Backend{Files: d, Journal: d, Quarantine: d, Close: d.root.Close}, o)
	s.disk = d
	return s, nil
}

// New returns a store on a backend. The store's Close closes it.
func New(b Backend, o Options) *Store {
	o.MaxFile = cmp.Or(o.MaxFile, DefaultMaxFile)
	if o.MaxFile < 0 || o.MaxFile > noLimit {
		o.MaxFile = noLimit
	}
	o.MaxParts = cmp.Or(max(o.MaxParts, 0), DefaultMaxParts)
	o.MaxFiles = cmp.Or(max(o.MaxFiles, 0), DefaultMaxFiles)
	o.MaxHead = cmp.Or(max(o.MaxHead, 0), DefaultMaxHead)
	o.MaxField = cmp.Or(max(o.MaxField, 0), DefaultMaxField)
	s := &Store{options: o, log: logger(o.Logger), backend: b, largeChunks: make(chan struct{}, maxChunks)}
	if s.options.Meter == nil {
		s.options.Meter = noMeter{}
	}
	s.chunks.New = func() any { return new(chunk) }
	s.smallChunks.New = func() any { return new(smallChunk) }
	return s
}

// logger returns log, or a logger that logs nothing if log is nil.
func logger(log *slog.Logger) *slog.Logger {
	if log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return log
}

// Close closes the backend. After Close, only Discard may be called for uploads that are
// not published.
func (s *Store) Close() error {
	if s.backend.Close == nil {
		return nil
	}
	return s.backend.Close()
}

// busyWait is the interval between two attempts to enter a full pool.
const busyWait = 5 * time.Millisecond

// Do runs fn in the pool and returns its error. If the pool is full, it does not wait and
// returns pool.ErrFull. Use it for the first step of an upload. Without a pool fn runs in
// the caller's goroutine.
func (s *Store) Do(ctx context.Context, fn func() error) error {
	if s.options.Pool == nil {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		return fn()
	}
	return s.options.Pool.Do(ctx, func(context.Context) error { return fn() })
}

// DoWait is Do, but it waits while the pool is full, until ctx ends. Use it for uploads that
// have started: on a busy server they become slower, but they do not fail.
func (s *Store) DoWait(ctx context.Context, fn func() error) error {
	err := s.Do(ctx, fn)
	if !errors.Is(err, pool.ErrFull) {
		return err
	}
	again := time.NewTicker(busyWait)
	defer again.Stop()
	for errors.Is(err, pool.ErrFull) {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-again.C:
			err = s.Do(ctx, fn)
		}
	}
	return err
}
