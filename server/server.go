// Package server is an HTTP/1.1 server on fasthttp with streaming request bodies. It
// guarantees that unread bytes of one request are never parsed as the next request,
// whatever a handler does.
//
// fasthttp itself does not: when a handler has returned, it parses the next bytes of the
// connection as a request, even if they are the part of a body that the handler did not
// read (valyala/fasthttp#2336, #2368). Here every request passes these steps:
//
//		Read ──► preview ─► admit ──► serve ─► handler ─► finish ──► response, or close
//		conn     (head      framing,  (guard)  Body       drain 256 KiB, or
//		         parsed)    route,                        linger and close
//		                    Admit, limit
//
//	  - preview runs when the head is parsed and none of the body is read. A request
//	    that will be refused gets no 100 Continue. A chunked body is passed on as raw
//	    bytes, so that the strict decoder of this package reads its framing.
//	  - admit decides from the head alone, once: whether the framing is unambiguous
//	    (RFC 9112 §6.3), whether there is a route, whether its Admit accepts the
//	    request, and whether the length is within the route's limit. The result stays on
//	    the connection until the request ends.
//	  - Handlers must read the body with Body. For a body that ends early it returns an
//	    error, never io.EOF.
//	  - finish drains the rest of the body, so that the connection is at the first byte
//	    of the next request. If it cannot, the response has Connection: close, and the
//	    server closes the connection with a lingering close, so that the client can
//	    read the response.
//
// A connection is in one of these phases. The phase decides the deadline of a read and
// what Run does with the connection when it drains:
//
//	fresh ──first byte──► head ──parsed──► serving ──handler returned──► responding
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
	"go.opentelemetry.io/otel/trace"
)

// Defaults of Options. The comments there repeat the values.
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
	// Logger gets the errors that clients must not see: the cause of a 500 response,
	// panics with their stacks, errors of accept. Default: no log.
	Logger *slog.Logger
	// MaxBody is the limit of a request body, in bytes, for routes that set no limit
	// of their own. For routes without a limit, it is the limit of ReadAll. Default 1 MiB.
	MaxBody int64
	// MaxHeader is the limit of the head of a request (request line and fields), in
	// bytes. A longer head gets a 431 response. Each connection that reads a request
	// holds a buffer of this size. Default 8 KiB.
	MaxHeader int
	// Grace is how long Run waits for requests in flight after its context has ended.
	// Default 30 s.
	Grace time.Duration
	// IdleTimeout is how long a connection may wait for its next request, or for its
	// first. Then it is closed without a response. Default 75 s.
	IdleTimeout time.Duration
	// ReadTimeout limits the time from the first byte of a head to its last. If a body
	// of known length follows, the limit includes its first byte, which fasthttp reads
	// together with the head. It also limits each wait for more bytes of a body. A
	// request that exceeds it gets a 408 response. There is no deadline for a complete
	// body. Default 60 s. This timeout, IdleTimeout and WriteTimeout may expire early, by
	// at most a sixteenth of their length.
	ReadTimeout time.Duration
	// WriteTimeout limits each write of up to 64 KiB of a response. A write waits until
	// the client has read enough of what was sent before: the kernel reports progress
	// only when about a third of the send buffer is free again. There is no deadline for a
	// complete response. Default 60 s.
	WriteTimeout time.Duration
	// MaxConns is the limit of open connections, and MaxConnsPerClient that of one
	// client address. Connections of TrustedProxies count for MaxConns only. A
	// connection over a limit gets a 503 or a 429 response and is closed; with TLS it
	// is closed without a response. Default: no limit.
	MaxConns, MaxConnsPerClient int
	// TrustedProxies are the networks of proxies whose fields about the client are
	// used: see Client, Scheme and RequestID. Default: none.
	TrustedProxies []netip.Prefix
	// TLS turns connections into HTTPS. It must hold a certificate. HTTP/2 is not
	// supported: ALPN offers http/1.1 only. Default: no TLS.
	TLS *tls.Config
	// Origins are the other origins whose pages may use the server. Their preflights
	// get a response before Admit, for every path and method, and every response has
	// the fields that let the page read it. Their other requests pass Admit like those
	// of all clients. Default: none.
	Origins Origins
	// RequestFields and ResponseFields are header fields that pages of Origins may
	// send and read, in addition to those that every route may need. Default: none.
	RequestFields, ResponseFields []string
	// BasePath is the prefix, such as /gale, that proxies add to every path. Requests
	// reach their routes with and without it. See Link. Default: none.
	BasePath string
	// AccessLog logs every n-th request: 1 logs all of them. Default: no access log.
	AccessLog int
	// SlowRequest is how long a request may take, from the first byte of its head to
	// the last byte of its response. A longer one is logged at level warn, with the
	// time of each phase. At most one line a second is written, with the number of
	// requests since the last line. Connections that were taken (see Take), event streams and requests
	// marked by LongPoll are never logged. Default: no log.
	SlowRequest time.Duration
	// Compress configures the compression of responses. Default: none.
	Compress Compression
	// Header holds the names and values of fields of every response, including error
	// responses, except 101. A field of the same name that a handler sets, or that is
	// in Route.Header, takes precedence. X-Content-Type-Options: nosniff,
	// X-Frame-Options: DENY and Referrer-Policy: same-origin are sent by default: a field
	// of the same name in Header replaces one of them, and an empty value removes it.
	// Strict-Transport-Security is sent over HTTPS only (RFC 6797 §7.2), see Scheme.
	// Fields that depend on the single response, such as Vary and Set-Cookie, are an
	// error. Default: none.
	Header [][2]string
	// Errors are the application's rows of the table from error to status. They take
	// precedence over the server's own rows. Default: none.
	Errors []ErrorStatus
	// Meter counts connections and requests. Default: no counting.
	Meter Meter
	// TracerProvider makes a span of OpenTelemetry for each request whose head could be
	// read, as a child of the client's span if the request has a traceparent (W3C Trace
	// Context). trace.SpanFromContext finds it in the handler's ctx, and in the contexts
	// of Context, Gone and HTTP. It ends when the response is complete in memory, or its body stream
	// begins, or the connection is taken. Log lines of requests get the id of the trace.
	// Default: no spans.
	TracerProvider trace.TracerProvider
}

// Meter counts connections and requests. Its methods are called for every request, from
// many goroutines at once, so they should use atomics and no locks.
type Meter interface {
	ConnOpened()
	ConnClosed()
	// RequestDone is called when the response is complete in memory or its body stream
	// begins, before it is written. took is the time since the head was read, or 0 if
	// it was not read completely. method is one of the methods of RFC 9110 §9, PATCH,
	// or "other" for all others and for a head that cannot be parsed.
	RequestDone(method string, status int, took time.Duration)
	// ConnRefused is called for each connection over a limit, and RequestDone for its
	// response.
	ConnRefused(over Limit)
}

// Limit names the limit that a connection exceeded.
type Limit int

// Values of Limit.
const (
	LimitTotal     Limit = iota // Options.MaxConns
	LimitPerClient              // Options.MaxConnsPerClient
)

// Server is an HTTP server. Make one with New, and Run it once.
type Server struct {
	fast   *fasthttp.Server
	routes *routes
	cors   *cors // nil without Options.Origins
	common commonFields
	zip    *compressor // nil without Options.Compress
	opts   Options     // with its defaults filled in
	errors []ErrorStatus
	conns  conns

	idPrefix     string        // random part of request ids
	lastID       atomic.Uint64 // number in the last request id
	requestCount atomic.Uint64 // requests seen by the access log

	refusedLog logLimiter // for connections over a limit
	prefixLog  logLimiter // for malformed X-Forwarded-Prefix fields
	slowLog    logLimiter // for slow requests

	busyResponse, tooManyResponse []byte // responses to connections over a limit

	lingerSlots chan struct{} // one element for each refused connection that gets a response

	watcher connWatcher // detects clients that close their connections, see Gone

	started      atomic.Bool
	drainOnce    sync.Once
	drainStarted chan struct{} // closed when Run begins to drain
}

// New makes a server of routes. Its error reports every bad route and every bad
// option.
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

	table, err := newRoutes(routes, o.MaxBody)
	table.base = o.BasePath
	if o.BasePath != "" {
		if fault := CheckBasePath(o.BasePath); fault != nil {
			err = errors.Join(err, fmt.Errorf("base path %q: %w", o.BasePath, fault))
		}
	}
	shared, errShared := newCORS(o)
	common, errCommon := newCommonFields(o.Header)
	zip, errZip := newCompressor(o.Compress)
	err = errors.Join(err, errShared, errCommon, errZip)
	for i, row := range o.Errors {
		if row.Err == nil || row.Status < 400 || row.Status > 599 {
			err = errors.Join(err, fmt.Errorf("error row %d: needs an error and a status from 400 to 599", i))
		}
	}
	if err != nil {
		return nil, fmt.Errorf("make server: %w", err)
	}
	s.routes, s.cors, s.common, s.zip = table, shared, common, zip
	s.busyResponse = newRefusal(http.StatusServiceUnavailable, reasonBusy, !o.Origins.Empty(), &s.common)
	s.tooManyResponse = newRefusal(http.StatusTooManyRequests, reasonTooMany, !o.Origins.Empty(), &s.common)
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
		// fasthttp reads this much of a body of known length before it calls the
		// handler, at most 8 KiB; the minimum is 1. It does not enforce the limit
		// on streams: admit and Body do.
		MaxRequestBodySize: 1,
		ReadBufferSize:     o.MaxHeader,
		// Parser errors become sentinels, which refuse can distinguish, and heads
		// with their tokens and cookies stay out of the log.
		SecureErrorLogMessage: true,
		// fasthttp's timeouts are not used, since its ReadTimeout covers a whole
		// upload (see conn). Neither is its Shutdown (see Run).
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

// draining reports whether Run has begun to drain.
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

// fastLogger gets fasthttp's own log lines. They are about broken connections and
// malformed heads, which are faults of the client, so they are logged at debug level.
type fastLogger struct{ log *slog.Logger }

func (l fastLogger) Printf(format string, args ...any) {
	if l.log.Enabled(context.Background(), slog.LevelDebug) {
		l.log.Debug("message from fasthttp", "text", fmt.Sprintf(format, args...))
	}
}
