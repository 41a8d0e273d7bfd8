// Package uploadsocket takes a file over a WebSocket (RFC 6455), in whatever
// messages its sender likes.
//
//	client                            server
//	binary message           ──►      written
//	                         ◄──      {"offset":n}       n bytes are in the file
//	text "done", or close    ──►      published
//	                         ◄──      {"code","reason","files":[…]}, close
//
// Reading stops while the disk is behind: a message is read as it is written,
// in chunks, and the next is not looked at before. Whatever else ends the
// connection discards the file: a page that is left (1001), a cut line, silence
// for a minute, a message that is no part of this.
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
	// Grace is how long Run, once its context has ended, waits for uploads
	// under way. Default 30 s.
	Grace time.Duration
	// IdleTimeout is how long a client may be silent. It is asked for a sign of
	// life (a ping) three times in that time. Default 60 s.
	IdleTimeout time.Duration
	// SendTimeout is how long a client may take to make room for an answer.
	// Default 30 s.
	SendTimeout time.Duration
	// Logger gets what clients must not see. Nil: nobody does.
	Logger *slog.Logger
}

// Server takes uploads. Make one with New, and Run it once.
type Server struct {
	store *uploads.Store
	opts  Options

	mu       sync.Mutex
	open     map[*session]struct{}
	stopping bool
	sessions sync.WaitGroup // the sessions
}

// New makes a server of uploads into store.
func New(store *uploads.Store, o Options) *Server {
	o.Grace = cmp.Or(max(o.Grace, 0), DefaultGrace)
	o.IdleTimeout = cmp.Or(max(o.IdleTimeout, 0), DefaultIdleTimeout)
	o.SendTimeout = cmp.Or(max(o.SendTimeout, 0), DefaultSendTimeout)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Server{store: store, opts: o, open: make(map[*session]struct{})}
}

// Request is what is asked for.
type Request struct {
	Directory, Filename string
	// Numbered: where the name is taken another is made of it, see
	// uploads.Upload.PublishNumbered.
	Numbered bool
	// Response is what is sent for an Answer, as JSON. Nil: the Answer itself.
	Response func(a uploads.Answer) any
	// Written is called with the offset after each piece, and Ended once, with
	// what its sender was told or would have been; not after an error of Serve.
	// Nil: nothing is.
	Written func(offset int64)
	Ended   func(a uploads.Answer)
}

// Serve turns the request that ctx is about, whose handshake has been read, into
// an upload. With an error nothing was upgraded; it is upgrade.ErrLeaving, one of
// uploads.Store.Check, or pool.ErrFull.
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
			r.Ended = func(uploads.Answer) {}
		}
		if !s.begin(&session{server: s, net: t, request: r, log: log}, h) {
			_ = t.Close() // Run began to wait in this instant
			r.Ended(interrupted)
		}
	})
}

// begin makes u one of the sessions that Run waits for, unless it waits already.
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

// Run waits until ctx ends; then no upload begins any more, and those under way
// have Options.Grace before they are cut off. It returns when there are none.
func (s *Server) Run(ctx context.Context) error {
	<-ctx.Done()
	s.mu.Lock()
	s.stopping = true
	s.mu.Unlock()
	drained := make(chan struct{})
	go func() { // ends when the sessions have, which cut sees to
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
		s.opts.Logger.Warn("uploads by websocket cut off", "uploads", n)
	}
	<-drained
	return nil
}

// cut ends what is under way and returns how much that was.
func (s *Server) abortAll() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	for u := range s.open {
		u.abort()
	}
	return len(s.open)
}
