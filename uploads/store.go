// Package uploads keeps uploaded files: whole under their name or not there at
// all, never overwritten, never outside one folder, in memory that stays flat
// whatever their size.
//
//	Create ──► no name yet ──► Write, ReadFrom ──► Publish ──► directory/filename
//	                │                                 │
//	                │ Discard, kill -9                │ ErrExists: try another
//	                ▼                                 ▼ name, or Discard
//	             nothing                           nothing
//
// A file has no name while it is written (O_TMPFILE, open(2)), so the kernel
// frees it however the process ends, and gets its name by linkat(2), which
// refuses to replace. Where a file system has no unnamed files it is a locked
// temporary in the folder's own .incoming, and the next Open sweeps what a
// killed process left there. The folder and all below it must be one file
// system, one with hard links.
//
// Multipart does this for every file of a form, and names them only when the
// whole body has arrived.
package uploads

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
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

// Modes of what the store makes, before the umask: a group may be let in to
// read, nobody else.
const (
	folderMode = 0o750
	fileMode   = 0o640
)

// noLimit is more than any file system holds, in bytes, and leaves room to add.
const noLimit = 1 << 62

// Options configure a Store. The zero value is the documented default.
type Options struct {
	// MaxFile is how many bytes a file may have. Default 1 GiB; negative
	// means no limit.
	MaxFile int64
	// MaxParts is how many parts, plain fields and files together, a form
	// may have. Default 1000.
	MaxParts int
	// MaxFiles is how many of them may be files; each holds a descriptor
	// until the form has been read to its end. Default 100.
	MaxFiles int
	// MaxHead is how many bytes the head of a part may have, and how many may
	// stand before the first part. Default 16 KiB.
	MaxHead int64
	// MaxField is how many bytes a text field of a form may have, and how many
	// may follow the form. Default 1 MiB.
	MaxField int64
	// Stored is called for each file that is stored, with an id that is the
	// file's alone: at least once, and with the same id each time, until it
	// returns nil. If the process is killed in between, or Stored returns an
	// error, Run calls it later, in this or another process that has the folder
	// open with Stored set. Publish and Multipart wait for the first call; its
	// error is File.StoredErr and does not make the upload fail. It may be called
	// from many goroutines at once. Nil: nothing is called, and nothing is
	// written for it.
	Stored func(ctx context.Context, id string, f File) error
	// StoredFilter reports whether Stored is called for a file of that name. For
	// others nothing is written. It must not block. Nil: for every file.
	StoredFilter func(directory, filename string) bool
	// Pool runs the work on the disk. Nil: the caller's goroutine does.
	Pool *pool.Pool
	// Meter counts uploads. Nil: they are not counted.
	Meter Meter
	// Logger gets a line for each file stored or removed, and the errors whose
	// text clients must not see. Nil: nothing is logged.
	Logger *slog.Logger
}

// Store is a folder of uploaded files. Make one with Open; its methods may be
// called from any number of goroutines, and any number of processes may have
// the same folder open.
type Store struct {
	options        Options
	log            *slog.Logger
	root           *os.Root
	sys            syscalls
	useTemporaries bool  // the file system has no unnamed files
	errEscapes     error // what os.Root calls a name that leads out

	largeChunks         chan struct{} // a place for each chunk that is lent
	chunks, smallChunks sync.Pool     // of *chunk, *smallChunk
}

// Open makes the folder dir if it is missing (mode 0750, its parents too),
// checks that files can be written and named in it, and sweeps the temporaries
// that killed processes left in its .incoming. A full disk is no reason to
// fail: what is there can still be read.
func Open(dir string, o Options) (*Store, error) { return open(dir, o, realSyscalls()) }

func open(dir string, o Options, sys syscalls) (*Store, error) {
	o.MaxFile = cmp.Or(o.MaxFile, DefaultMaxFile)
	if o.MaxFile < 0 || o.MaxFile > noLimit {
		o.MaxFile = noLimit
	}
	o.MaxParts = cmp.Or(max(o.MaxParts, 0), DefaultMaxParts)
	o.MaxFiles = cmp.Or(max(o.MaxFiles, 0), DefaultMaxFiles)
	o.MaxHead = cmp.Or(max(o.MaxHead, 0), DefaultMaxHead)
	o.MaxField = cmp.Or(max(o.MaxField, 0), DefaultMaxField)
	if err := os.MkdirAll(dir, folderMode); err != nil {
		return nil, fmt.Errorf("make upload folder: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open upload folder: %w", err)
	}
	s := &Store{options: o, log: o.Logger, root: root, sys: sys}
	if s.options.Meter == nil {
		s.options.Meter = noMeter{}
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.largeChunks = make(chan struct{}, maxChunks)
	s.chunks.New = func() any { return new(chunk) }
	s.smallChunks.New = func() any { return new(smallChunk) }
	if path, ok := errors.AsType[*fs.PathError](escapeError(root)); ok {
		s.errEscapes = path.Err
	}
	if err = s.sweep(); err == nil {
		err = s.probe()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("check upload folder %s: %w", dir, err), root.Close())
	}
	return s, nil
}

// outside makes os.Root refuse a name: its error for that has no exported name.
func escapeError(root *os.Root) error {
	_, err := root.Lstat("..")
	return err
}

// Close releases the folder. Uploads that are not published yet can still be
// discarded, no longer published.
func (s *Store) Close() error { return s.root.Close() }

// busyWait is the interval between two attempts to enter a full pool.
const busyWait = 5 * time.Millisecond

// Do runs fn in the pool. If the pool is full it returns pool.ErrFull at once;
// use it to begin work. Without a pool fn runs in the caller's goroutine.
func (s *Store) Do(ctx context.Context, fn func() error) error {
	if s.options.Pool == nil {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		return fn()
	}
	return s.options.Pool.Do(ctx, func(context.Context) error { return fn() })
}

// DoWait is Do that waits while the pool is full; use it for uploads that have
// begun. A busy disk refuses new uploads, not one of which a gigabyte has already
// arrived; the wait slows the sender of that one down.
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
