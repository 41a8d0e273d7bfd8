// Package uploadsocket receives a file over a WebSocket (RFC 6455), in messages of any
// size.
//
//	client                            server
//	binary message           ──►      written to disk
//	                         ◄──      {"offset":n}       n bytes are in the file
//	text "done", or close    ──►      file published
//	                         ◄──      {"code","reason","files":[…]}, close
//
// A message is written to disk in chunks while it is read, and the next message is read
// only after that. Therefore a slow disk slows the client down.
//
// A close frame publishes the file only with close code 1000 or without a code. If the
// connection ends in any other way, the file is discarded: for example when the page is
// closed (close code 1001), when the connection is lost, when the client sends neither data
// nor pongs for Options.IdleTimeout, or when a message is invalid.
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
	// Grace is the time limit for uploads in progress after the context of Run has
	// ended. Default 30 s.
	Grace time.Duration
	// IdleTimeout is the time after which an upload is discarded if the client sends
	// neither data nor a pong. The server sends three pings in that time. Default 60 s.
	IdleTimeout time.Duration
	// SendTimeout is the time limit for writing a message to the client. Default 30 s.
	SendTimeout time.Duration
	// Logger gets the internal errors, which are not sent to clients. Nil: no log.
	Logger *slog.Logger
}

// Server receives uploads. Create it with New, and call Run once.
type Server struct {
	store *uploads.Store
	opts  Options

	mu       sync.Mutex
	open     map[*session]struct{}
	stopping bool           // true when new uploads are refused
	sessions sync.WaitGroup // goroutines of sessions
}

// New returns a server that stores uploads in store.
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
	// Sender is the client, for uploads.Store.Admit.
	Sender uploads.Sender
	// Numbered adds a number to the name if Filename exists, see
	// uploads.Upload.PublishNumbered.
	Numbered bool
	// Response returns the value to send to the client as JSON. Nil: the result itself is
	// sent.
	Response func(result uploads.Response) any
	// Written is called after each message that was written, with the size of the file
	// so far in bytes. Nil: no calls.
	Written func(offset int64)
	// Ended is called once with the result, also if the client has disconnected. It is
	// not called if Serve returns an error. Nil: no call.
	Ended func(result uploads.Response)
}

// Serve accepts the WebSocket handshake h of the request of ctx, which upgrade.Read has
// returned, and starts the upload. If it returns an error, it has sent no response, and the
// handler must return that error: upgrade.ErrLeaving, or an error of uploads.Store.Admit or
// Check, for example pool.ErrFull.
func (s *Server) Serve(ctx *fasthttp.RequestCtx, h *upgrade.Handshake, r Request) error {
	if s.draining() {
		return upgrade.ErrLeaving
	}
	permit, err := s.store.Admit(ctx, uploads.Proposal{Directory: r.Directory, Filename: r.Filename, Size: -1, Sender: r.Sender})
	if err != nil {
		return err
	}
	r.Directory, r.Filename = permit.Directory, permit.Filename
	if err := s.store.Check(ctx, r.Directory, r.Filename); err != nil && (!r.Numbered || !errors.Is(err, uploads.ErrExists)) {
		return err
	}
	log := s.opts.Logger.With("client", server.Client(ctx))
	return h.Take(ctx, func(t *server.Taken) {
		if r.Ended == nil {
			r.Ended = func(uploads.Response) {}
		}
		if !s.begin(&session{server: s, net: t, request: r, permit: permit, log: log}, h) {
			_ = t.Close() // a shutdown has started in the meantime
			r.Ended(interrupted)
		}
	})
}

// begin starts the goroutine of a session. It returns false if the server is shutting
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

// draining reports whether new uploads are refused, since the context of Run has ended.
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

// Run waits until ctx ends. Then the server accepts no more uploads. Uploads that are still
// in progress after Options.Grace are aborted. Run returns nil when all uploads have ended.
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
