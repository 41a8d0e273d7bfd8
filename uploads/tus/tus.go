// Package tus takes uploads that can be resumed, by the tus protocol 1.0.0
// (https://tus.io/protocols/resumable-upload): core, creation,
// creation-with-upload, creation-defer-length, termination, checksum, expiration,
// concatenation. It knows no HTTP server: Serve takes a Request and returns a
// Response.
//
//	POST ──► open ──PATCH──► open ──last byte──► published by the Store
//	           │  ▲            │                    │
//	           │  └─ kill -9 ──┘                    ▼
//	           └─ DELETE, expiry ──► gone ◄──── remembered for a while
//
// An upload is two files in a private folder of the store: its data, and its
// state, of which the last good copy counts (see progress). What a client is told
// of an offset is on disk: the data is synced first and the state after it, so
// the state is never ahead of the data. A process that is killed loses what came
// since the last checkpoint, about a second, and nothing that was acknowledged.
//
// A request holds its upload by a lock on the state file that the kernel gives
// back however the process ends. Whoever comes next asks for it, and the holder,
// whose client hangs or is gone, lets go (see lock).
package tus

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/galeserver/gale/pool"
	"github.com/galeserver/gale/uploads"
)

// Version is the version of the protocol.
const Version = "1.0.0"

// Defaults of Options.
const (
	DefaultBase            = "/tus/"
	DefaultMaxUnfinished   = 16 << 30
	DefaultMaxUploads      = 10_000
	DefaultExpiry          = 24 * time.Hour
	DefaultRetention       = time.Hour
	DefaultTakeoverTimeout = 5 * time.Second
)

// Options configure a Server. The zero value is the documented default.
type Options struct {
	// Base is the path that uploads are below; it ends in a slash. Default /tus/.
	Base string
	// MaxUnfinished is how many bytes the unfinished uploads of all processes
	// may have together; one of a known length counts with all of it, so what
	// was begun can be finished. Default 16 GiB.
	MaxUnfinished int64
	// MaxUploads is how many there may be. Default 10,000.
	MaxUploads int
	// Expiry is how long an unfinished upload is kept after its last byte.
	// Default 24 h.
	Expiry time.Duration
	// Retention is how long an upload is known after its end, so that a client
	// whose last response was lost can ask for the outcome. Default 1 h.
	Retention time.Duration
	// TakeoverTimeout is how long a request waits for another that holds the upload
	// to let go, which takes a moment unless that one waits for the disk.
	// Beyond it the response is 423. Default 5 s.
	TakeoverTimeout time.Duration
	// Stored is called with a file when it has been stored, before its sender
	// gets the response; again, with the same id, if the process was killed
	// before it could note that. It must not block. What must follow the file
	// for certain is uploads.Options.Stored's, which gets the same id. Nil:
	// nothing is called.
	Stored func(id string, f uploads.File)
	// Progress is called for every offset that is on disk, with the length, or
	// -1 while that is unknown. It must not block. Nil: nothing is.
	Progress func(id string, offset, length int64)
	// Logger gets a line for each upload that begins, ends unfinished or is
	// taken over, and the errors whose text clients must not see. Nil: nothing is
	// logged.
	Logger *slog.Logger
}

// Server takes uploads. Make one with New; any number of processes may have one
// on the same folder.
type Server struct {
	store *uploads.Store
	opts  Options
	log   *slog.Logger

	private    *os.Root // private folder of the store
	unfinished *os.Root // folder in it for the files of unfinished uploads
	ended      *os.Root // folder in it for the state of uploads that have ended

	closing  chan struct{} // closed when transfers are to stop
	mu       sync.Mutex
	closed   bool
	requests sync.WaitGroup // requests being served
}

// folderName is the private folder, unfinishedName and endedName those in it.
const (
	folderName     = ".resumable"
	unfinishedName = "open"
	endedName      = "done"
)

// New makes a server of uploads into store.
func New(store *uploads.Store, o Options) (*Server, error) {
	o.Base = cmp.Or(o.Base, DefaultBase)
	o.MaxUnfinished = cmp.Or(max(o.MaxUnfinished, 0), DefaultMaxUnfinished)
	o.MaxUploads = cmp.Or(max(o.MaxUploads, 0), DefaultMaxUploads)
	o.Expiry = cmp.Or(max(o.Expiry, 0), DefaultExpiry)
	o.Retention = cmp.Or(max(o.Retention, 0), DefaultRetention)
	o.TakeoverTimeout = cmp.Or(max(o.TakeoverTimeout, 0), DefaultTakeoverTimeout)
	s := &Server{store: store, opts: o, log: o.Logger, closing: make(chan struct{})}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if err := s.openFolders(); err != nil {
		return nil, errors.Join(fmt.Errorf("open resumable uploads: %w", err), s.closeFolders())
	}
	return s, nil
}

// startRequest counts a request; it must be followed by s.requests.Done unless it fails.
func (s *Server) startRequest() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return pool.ErrClosed
	}
	s.requests.Add(1)
	return nil
}

// Close stops the requests that are under way, waits until what they have
// received is on disk, and releases the folder, for which Run must have returned.
// Requests that come later fail with pool.ErrClosed. A second call does nothing.
func (s *Server) Close() error {
	s.mu.Lock()
	again := s.closed
	s.closed = true
	s.mu.Unlock()
	if again {
		return nil
	}
	close(s.closing)
	s.requests.Wait()
	return s.closeFolders()
}
