// Package uploadsocket receives a file over a WebSocket (RFC 6455), in messages of any
// size.
//
//	client                            server
//	binary message           ──►      written
//	                         ◄──      {"offset":n}       n bytes are in the file
//	text "done", or close    ──►      published
//	                         ◄──      {"code","reason","files":[…]}, close
//
// A message is written to disk in chunks as it is read, and the next message is not
// read before. So a slow disk slows down the client. Any other end of the connection
// discards the file: a page that is closed (1001), a lost connection, a minute without
// data, an invalid message.
package uploadsocket

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/server"
	"github.com/galeserver/gale/server/upgrade"
	"github.com/galeserver/gale/uploads"
)

// Defaults of Options.
const (
	DefaultGrace       = 30 * time.Second
	DefaultIdleTimeout = time.Minute
	DefaultSendTimeout = 30 * time.Second
)

// Options configure a Server. The zero value is the documented default.
type Options struct {
	// Grace is how long Run waits for uploads in progress after its context has ended.
	// Default 30 s.
	Grace time.Duration
	// IdleTimeout is how long a client may send nothing. It gets three pings in that
	// time. Default 60 s.
	IdleTimeout time.Duration
	// SendTimeout is the limit for writing a message to the client. Default 30 s.
	SendTimeout time.Duration
	// Logger gets the errors that clients must not see. Nil: no log.
	Logger *slog.Logger
}

// Server receives uploads. Make one with New, and call Run once.
type Server struct {
	store *uploads.Store
	opts  Options

	mu       sync.Mutex
	open     map[*session]struct{}
	stopping bool
	sessions sync.WaitGroup // goroutines of sessions
}

// New makes a server that stores uploads in store.
func New(store *uploads.Store, o Options) *Server {
	o.Grace = cmp.Or(max(o.Grace, 0), DefaultGrace)
	o.IdleTimeout = cmp.Or(max(o.IdleTimeout, 0), DefaultIdleTimeout)
	o.SendTimeout = cmp.Or(max(o.SendTimeout, 0), DefaultSendTimeout)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Server{store: store, opts: o, open: make(map[*session]struct{})}
}

// Request describes an upload.
type Request struct {
	Directory, Filename string
	// Numbered chooses another name if Filename exists, see
	// uploads.Upload.PublishNumbered.
	Numbered bool
	// Response converts the result to the JSON for the client. Nil: the result itself.
	Response func(a uploads.Response) any
	// Written is called with the offset after each message. Ended is called once with
	// the result, also if the client has left, but not after an error of Serve.
	// Nil: no calls.
	Written func(offset int64)
	Ended   func(a uploads.Response)
}

// Serve turns the request of ctx, whose handshake was read, into an upload. After an
// error nothing was sent; the error is upgrade.ErrLeaving, one of uploads.Store.Check,
// or pool.ErrFull.
func (s *Server) Serve(ctx *fasthttp.RequestCtx, h *upgrade.Handshake, r Request) error {
	if s.draining() {
		return upgrade.ErrLeaving
	}
	if err := s.store.Check(ctx, r.Directory, r.Filename); err != nil && (!r.Numbered || !errors.Is(err, uploads.ErrExists)) {
		return err
	}
	log := s.opts.Logger.With("client", server.Client(ctx))
	return h.Take(ctx, func(t *server.Taken) {
		if r.Ended == nil {
			r.Ended = func(uploads.Response) {}
		}
		if !s.begin(&session{server: s, net: t, request: r, log: log}, h) {
			_ = t.Close() // the server has begun to shut down meanwhile
			r.Ended(interrupted)
		}
	})
}

// begin starts a session that Run waits for. It returns false if the server shuts
// down.
func (s *Server) begin(u *session, h *upgrade.Handshake) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping {
		return false
	}
	u.ctx, u.cancel = context.WithCancelCause(context.Background())
	s.open[u] = struct{}{}
	s.sessions.Go(func() { // ends with the connection
		defer s.end(u)
		u.serve(h)
	})
	return true
}

// draining reports whether Run waits for the last sessions.
func (s *Server) draining() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stopping
}

func (s *Server) end(u *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u.cancel(nil)
	delete(s.open, u)
}

// Run waits until ctx ends. Then it accepts no more uploads, and those in progress
// have Options.Grace until they are aborted. It returns when none is left.
func (s *Server) Run(ctx context.Context) error {
	<-ctx.Done()
	s.mu.Lock()
	s.stopping = true
	s.mu.Unlock()
	drained := make(chan struct{})
	go func() { // ends with the last session, at the latest after abortAll
		s.sessions.Wait()
		close(drained)
	}()
	grace := time.NewTimer(s.opts.Grace)
	defer grace.Stop()
	select {
	case <-drained:
		return nil
	case <-grace.C:
	}
	if n := s.abortAll(); n > 0 {
		s.opts.Logger.Warn("uploads by websocket aborted", "uploads", n)
	}
	<-drained
	return nil
}

// abortAll aborts the sessions in progress and returns their number.
func (s *Server) abortAll() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	for u := range s.open {
		u.abort()
	}
	return len(s.open)
}
