// Package tus implements resumable uploads with the tus protocol 1.0.0
// (https://tus.io/protocols/resumable-upload). It supports the core protocol and the
// extensions creation, creation-with-upload, creation-defer-length, termination,
// checksum, expiration and concatenation. It does not depend on an HTTP server: Serve
// takes a Request and returns a Response.
//
// The lifecycle of an upload:
//
//	POST ──► unfinished ──last PATCH──► stored in the uploads.Store
//	          │    │  ▲                    │
//	          │    └──┘                    │ Options.Retention
//	          │   PATCH, kill -9           ▼
//	          └─ DELETE, expiry ───────► id unknown
//
// A Place keeps the uploads: a Folder, or object storage (package s3). It makes the data durable
// before it saves the state, and saves the state before the server sends an offset to the
// client. So the state never counts bytes that are not durable, and no acknowledged byte is
// lost if the process is killed. Only bytes of a running request after its last
// checkpoint are lost; a Folder saves a checkpoint about every second.
//
// A request that uses an upload holds it. If another request for the same upload arrives, the
// first one stops reading and ends its hold: its client has usually lost the connection. The hold
// of a killed process ends too: at once in a Folder, whose locks are those of the kernel.
package tus

import (
	"cmp"
	"log/slog"
	"sync"
	"time"

	"github.com/galeserver/gale/internal/clockset"
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

// Options configure a Server. Each zero field means the documented default.
type Options struct {
	// Base is the path prefix of the URLs of uploads. It must end with a slash.
	// Default /tus/.
	Base string
	// MaxUnfinished is the limit of bytes for all unfinished uploads of all
	// processes together. An upload of a known length counts with its whole length
	// from the start, so that it can always be finished. Default 16 GiB.
	MaxUnfinished int64
	// MaxUploads is the limit of unfinished uploads. Default 10,000.
	MaxUploads int
	// Expiry is the time for which an unfinished upload is kept after its creation or its
	// last checkpoint. Default 24 h.
	Expiry time.Duration
	// Retention is the time for which the state of a stored or discarded upload is
	// kept. If the last response was lost, the client can request the result during that
	// time. Default 1 h.
	Retention time.Duration
	// TakeoverTimeout is the time that a request waits for the lock of an upload
	// that another request holds. After it the response has status 423. Normally the
	// other request releases the lock at once; it takes longer while that request waits
	// for the disk. Default 5 s.
	TakeoverTimeout time.Duration
	// Place keeps the uploads until they are complete. Nil: a Folder in the folder of the
	// store.
	Place Place
	// Stored is called when a file has been stored, before the response is sent. If
	// the process is killed at this moment, Run or the next request for the upload calls
	// it again with the same id. It must not block. For work that must not be lost use
	// uploads.Options.Stored, which gets the same id. Nil: no call.
	Stored func(id string, f uploads.File)
	// Progress is called for each offset that is durable. length is -1 while it is
	// unknown. It must not block. Nil: no call.
	Progress func(id string, offset, length int64)
	// Logger gets a line for each upload that is created, discarded or taken over,
	// and the internal errors, which are not sent to clients. Nil: nothing is logged.
	Logger *slog.Logger
}

// Server serves the requests of the tus protocol. Create it with New. Several processes may
// have servers on the same Place.
type Server struct {
	store  *uploads.Store
	place  Place
	folder *Folder // place, if New has made it
	opts   Options
	log    *slog.Logger
	clock  clockset.Guard

	closing  chan struct{} // closed by Close to stop the running requests
	mu       sync.Mutex
	closed   bool
	requests sync.WaitGroup // requests being served
}

// New returns a server that publishes complete uploads in store.
func New(store *uploads.Store, o Options) (*Server, error) {
	o.Base = cmp.Or(o.Base, DefaultBase)
	o.MaxUnfinished = cmp.Or(max(o.MaxUnfinished, 0), DefaultMaxUnfinished)
	o.MaxUploads = cmp.Or(max(o.MaxUploads, 0), DefaultMaxUploads)
	o.Expiry = cmp.Or(max(o.Expiry, 0), DefaultExpiry)
	o.Retention = cmp.Or(max(o.Retention, 0), DefaultRetention)
	o.TakeoverTimeout = cmp.Or(max(o.TakeoverTimeout, 0), DefaultTakeoverTimeout)
	s := &Server{store: store, place: o.Place, opts: o, log: o.Logger, closing: make(chan struct{})}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.place == nil {
		var err error
		if s.folder, err = NewFolder(store, s.log); err != nil {
			return nil, err
		}
		s.place = s.folder
	}
	return s, nil
}

// limits returns the limits of all unfinished uploads.
func (s *Server) limits() Limits {
	return Limits{Bytes: s.opts.MaxUnfinished, Uploads: s.opts.MaxUploads}
}

// startRequest counts a running request. Unless it returns an error, the caller must call
// s.requests.Done.
func (s *Server) startRequest() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return pool.ErrClosed
	}
	s.requests.Add(1)
	return nil
}

// Close stops the running requests, waits until the bytes that they have received are
// durable, and closes the folder if it is that of New. Run must have returned before. Later requests fail
// with pool.ErrClosed. A second call does nothing.
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
	if s.folder == nil {
		return nil
	}
	return s.folder.Close()
}
