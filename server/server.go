// Package server is an HTTP/1.1 server on fasthttp with streaming request
// bodies, behind a guard that keeps one promise whatever a handler does:
// nothing unread on a connection is ever taken for the next request.
//
// fasthttp parses whatever follows a head as the next request once the handler
// has returned, also the part of a body that the handler did not read
// (valyala/fasthttp#2336, #2368). Here every request passes these stations:
//
//		Read ──► preview ─► admit ──► serve ─► handler ─► finish ──► response, or close
//		conn     (head      framing,  (guard)  Body       drain 256 KiB, or
//		         parsed)    route,                        linger and close
//		                    Admit, limit
//
//	  - preview sees a head before any of its body is read. A request that will
//	    be refused never gets a 100 Continue; a chunked body is turned into raw
//	    bytes, so that the strict decoder here reads its framing.
//	  - admit decides from the head alone, once: is the framing beyond doubt (RFC
//	    9112 §6.3), is there a route, does its Admit let the request in, is the
//	    length within the route's limit. The outcome stays on the connection until
//	    the request ends.
//	  - Body is the only way to the body. A short body is an error, never io.EOF.
//	  - finish leaves the connection at the first byte of the next request. Where
//	    it cannot, the answer carries Connection: close and the connection ends
//	    with a lingering close, so that the client reads the answer.
//
// A connection is in one of these phases; they decide which deadline a read
// has, and what Run does with it when the server is to end:
//
//	fresh ──first byte──► head ──parsed──► serving ──handler returned──► answering
//	                       ▲                  └──hijacked──► taken            │
//	                       └────first byte──── idle ◄─────next read───────────┘
package server

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
)

// The defaults of Options, which its comments state too.
const (
	defaultMaxBody      = 1 << 20
	defaultMaxHeader    = 8 << 10
	defaultGrace        = 30 * time.Second
	defaultIdleTimeout  = 75 * time.Second
	defaultReadTimeout  = 60 * time.Second
	defaultWriteTimeout = 60 * time.Second
)

// Options configure a Server. The zero value is the documented default.
type Options struct {
	// Logger gets what users must not see: the text behind a 500, panics with
	// their stacks, trouble with accepting. Default: nowhere.
	Logger *slog.Logger
	// MaxBody is the limit of a request's body, in bytes, for routes that set
	// none of their own, and of what ReadAll reads. Default 1 MiB.
	MaxBody int64
	// MaxHeader is the limit of a request's head (request line and fields), in
	// bytes; a longer one gets a 431 response. Each connection that reads a
	// request holds a buffer of this size. Default 8 KiB.
	MaxHeader int
	// Grace is how long Run, once its context has ended, waits for requests in
	// flight. Default 30 s.
	Grace time.Duration
	// IdleTimeout is how long a connection may wait for its next request, or
	// for its first. It is closed without an answer. Default 75 s.
	IdleTimeout time.Duration
	// ReadTimeout is how long a head may take from its first byte to its last
	// (and to the first byte of a body of known length, which fasthttp reads
	// with it), and how long each wait for more of a body may take; beyond it
	// the answer is 408. A body as a whole has no deadline. Default 60 s. This
	// and the two other timeouts of a connection may fire a sixteenth early.
	ReadTimeout time.Duration
	// WriteTimeout is how long an answer may wait for the client to make room for
	// more of it; the kernel says so when about a third of the send buffer is
	// free again. An answer as a whole has no deadline. Default 60 s.
	WriteTimeout time.Duration
	// MaxConns is how many connections may be open at once, and MaxConnsPerClient
	// how many from one address; those of TrustedProxies, who speak for many, are
	// counted in the first only. One connection more is answered 503, or 429, and
	// closed (with TLS: closed). Default: no limit.
	MaxConns, MaxConnsPerClient int
	// TrustedProxies are the networks whose word about the client is believed:
	// see Client, Scheme, RequestID. Default: none.
	TrustedProxies []netip.Prefix
	// TLS turns connections into HTTPS; it must hold a certificate. HTTP/2 is not
	// spoken: ALPN offers http/1.1 alone. Default: none.
	TLS *tls.Config
	// Origins are the origins whose pages may use the server beside its own. Their
	// preflights are answered before Admit, for every path and method, and every
	// response says that they may read it. What they may do Admit decides, as for
	// everybody. Default: none.
	Origins Origins
	// RequestFields and ResponseFields are header fields that their pages may send
	// and read, beyond those that every route may need. Default: none.
	RequestFields, ResponseFields []string
	// BasePath is what proxies show in front of every path, such as /gale. Requests
	// reach their routes with it and without it. See Link. Default: none.
	BasePath string
	// AccessLog logs one request in so many: 1 is every one. Default: none.
	AccessLog int
	// Errors are the application's rows of the table from error to status. They
	// come before the server's own.
	Errors []ErrorStatus
	// Meter is told of connections and requests. Default: nobody.
	Meter Meter
}

// Meter counts. Its methods are called from many goroutines at once and on
// every request: atomics, no locks.
type Meter interface {
	ConnOpened()
	ConnClosed()
	// RequestDone is called when the answer is decided, before it is written;
	// took is since the head of the request had come, 0 if that never did.
	// method is one of the methods of RFC 9110 §9 or PATCH; for all others, and
	// for a head that could not be parsed, it is "other".
	RequestDone(method string, status int, took time.Duration)
	// ConnRefused is called for each connection that would have been one too many.
	// RequestDone is, too, with its answer.
	ConnRefused(over Limit)
}

// Limit is what a connection was refused by.
type Limit int

// The limits.
const (
	LimitTotal     Limit = iota // Options.MaxConns
	LimitPerClient              // Options.MaxConnsPerClient
)

// Server is an HTTP server. Make one with New, and Run it once.
type Server struct {
	fast   *fasthttp.Server
	routes *routes
	cors   *cors   // or nil
	opts   Options // with its defaults filled in
	errors []ErrorStatus
	conns  conns

	idPrefix     string        // of request ids, drawn at random
	lastID       atomic.Uint64 // made so far
	requestCount atomic.Uint64 // requests counted for the access log

	refusedLog logLimiter // the log line of a connection over a limit
	prefixLog  logLimiter // the log line of an X-Forwarded-Prefix that is not believed

	busyResponse, tooManyResponse []byte // responses to connections over a limit

	lingerSlots chan struct{} // a place for each refused connection that lingers

	watcher connWatcher // for handlers that wait: see Gone

	started      atomic.Bool
	leaveOnce    sync.Once
	drainStarted chan struct{} // closed when Run's context has ended
}

// New makes a server of routes. Every bad route and bad option is reported, in
// one error.
func New(o Options, routes []Route) (*Server, error) {
	o.setDefaults()
	s := &Server{
		opts:         o,
		idPrefix:     strings.ToLower(rand.Text()[:12]),
		lingerSlots:  make(chan struct{}, maxRefusals),
		drainStarted: make(chan struct{}),
	}
	s.errors = append(s.errors, o.Errors...)
	s.errors = append(s.errors, ownErrors()...)
	s.conns.open = make(map[*conn]struct{})
	s.conns.clients = make(map[netip.Addr]int)
	s.conns.max, s.conns.maxPerClient = o.MaxConns, o.MaxConnsPerClient

	s.busyResponse = newRefusal(http.StatusServiceUnavailable, reasonBusy, !o.Origins.Empty())
	s.tooManyResponse = newRefusal(http.StatusTooManyRequests, reasonTooMany, !o.Origins.Empty())

	table, err := newRoutes(routes, o.MaxBody)
	table.base = o.BasePath
	if o.BasePath != "" {
		if fault := CheckBasePath(o.BasePath); fault != nil {
			err = errors.Join(err, fmt.Errorf("base path %q: %w", o.BasePath, fault))
		}
	}
	shared, errShared := newCORS(o)
	err = errors.Join(err, errShared)
	for i, row := range o.Errors {
		if row.Err == nil || row.Status < 400 || row.Status > 599 {
			err = errors.Join(err, fmt.Errorf("error row %d: needs an error and a status from 400 to 599", i))
		}
	}
	if err != nil {
		return nil, fmt.Errorf("make server: %w", err)
	}
	s.routes, s.cors = table, shared
	if o.TLS != nil {
		s.opts.TLS = withProtocols(o.TLS)
	}

	s.fast = &fasthttp.Server{
		Name:    "gale",
		Handler: s.serve,
		HeaderReceived: func(h *fasthttp.RequestHeader) (unchanged fasthttp.RequestConfig) {
			s.preview(h)
			return unchanged
		},
		ErrorHandler:                 s.refuse,
		Logger:                       fastLogger{o.Logger},
		StreamRequestBody:            true,
		DisablePreParseMultipartForm: true,
		// fasthttp reads the first bytes of a body of known length before it
		// calls the handler, as many as this, at most 8 KiB. One is the least.
		// The limit itself it does not enforce on streams; admit and Body do.
		MaxRequestBodySize: 1,
		ReadBufferSize:     o.MaxHeader,
		// Errors of the parser become sentinels, which refuse can tell apart,
		// and heads (tokens, cookies) stay out of the log.
		SecureErrorLogMessage: true,
		// fasthttp's timeouts stay off: its ReadTimeout covers a whole upload.
		// See conn. Its Shutdown stays unused: see Run.
	}
	return s, nil
}

func (o *Options) setDefaults() {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Meter == nil {
		o.Meter = noMeter{}
	}
	defaultTo(&o.MaxBody, defaultMaxBody)
	defaultTo(&o.MaxHeader, defaultMaxHeader)
	defaultTo(&o.Grace, defaultGrace)
	defaultTo(&o.IdleTimeout, defaultIdleTimeout)
	defaultTo(&o.ReadTimeout, defaultReadTimeout)
	defaultTo(&o.WriteTimeout, defaultWriteTimeout)
}

func defaultTo[T ~int | ~int64](field *T, value T) {
	if *field <= 0 {
		*field = value
	}
}

// draining reports whether the server is to end.
func (s *Server) draining() bool {
	select {
	case <-s.drainStarted:
		return true
	default:
		return false
	}
}

type noMeter struct{}

func (noMeter) ConnOpened()                            {}
func (noMeter) ConnClosed()                            {}
func (noMeter) RequestDone(string, int, time.Duration) {}
func (noMeter) ConnRefused(Limit)                      {}

// fastLogger takes what fasthttp itself has to say, which is about connections
// that broke and heads that did not parse: the client's faults.
type fastLogger struct{ log *slog.Logger }

func (l fastLogger) Printf(format string, args ...any) {
	if l.log.Enabled(context.Background(), slog.LevelDebug) {
		l.log.Debug("fasthttp reports", "text", fmt.Sprintf(format, args...))
	}
}
