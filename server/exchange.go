package server

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/pool"
)

var (
	// errGoexit is the failure of a handler that called runtime.Goexit.
	errGoexit = errors.New("handler ended its goroutine")

	// errResponseOver is the error of a Write after the response has ended, or after
	// middleware has dropped it.
	errResponseOver = errors.New("response has ended")
)

// exchange is a request to an http.Handler and its response.
//
// Two goroutines use it: the handler's and the connection's. Until ready is
// closed, only the handler's goroutine uses the fields from mu on. After that the
// connection's goroutine reads the fields that no longer change, and the body passes
// through stream.
type exchange struct {
	conn    *conn // nil outside of a Server
	request *http.Request
	id      string // request id, for the log
	cancel  context.CancelCauseFunc
	client  clientWatch
	stream  stream
	events  atomic.Bool   // the response has begun and is an event stream
	done    chan struct{} // closed when the handler has returned
	ready   chan struct{} // closed when the response begins or the handler has returned

	mu       sync.Mutex // held by the methods of the http.ResponseWriter
	header   http.Header
	sent     http.Header // header as it was at WriteHeader
	status   int         // 0 before WriteHeader
	length   int64       // declared Content-Length; -1 is none
	written  int64       // length of the body so far
	buffer   []byte      // last part of the body, not yet passed to stream
	begun    bool        // the response is a stream
	flushed  bool        // Flush was called before the response began
	returned bool        // the handler has returned
	failure  error       // panic of the handler
}

// newExchange copies everything that the handler needs from ctx, since the handler may
// still run when ctx is no longer valid.
func newExchange(ctx *fasthttp.RequestCtx) (*exchange, error) {
	x := &exchange{
		id:     RequestID(ctx),
		done:   make(chan struct{}),
		ready:  make(chan struct{}),
		header: make(http.Header),
		length: -1,
		stream: newStream(),
	}
	x.conn, _ = ctx.Conn().(*conn)
	if err := x.makeRequest(ctx); err != nil {
		return nil, err
	}
	if x.conn != nil {
		x.conn.exchange.Store(x)
	}
	if x.request.Body == http.NoBody {
		x.watchClient()
	}
	return x, nil
}

// run calls the handler.
func (x *exchange) run(h http.Handler) {
	failure := errGoexit
	defer func() {
		x.finish(failure)
		x.cancel(nil)
		close(x.done)
	}()
	failure = pool.Protect(func() error {
		h.ServeHTTP(&responseWriter{x}, x.request)
		return nil
	})
}

// finish ends the response after the handler has returned. If no part of the response
// was sent, respond sends all of it.
func (x *exchange) finish(failure error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.returned, x.failure = true, failure
	if failure == nil {
		x.writeHeader(http.StatusOK)
		if !x.begun && x.sendsBody() && x.length >= 0 && x.length != x.written {
			x.flushed = true
			x.begin(nil) // the body is shorter than declared, so the connection must end
		}
		if x.begun {
			_ = x.sendBuffer(x.flushed) // the handler has returned, so nothing can handle an error
		}
	}
	if !x.begun {
		close(x.ready)
		return
	}
	if failure != nil {
		x.logFailure()
	}
	x.stream.end(failure)
}

// respond makes the response of ctx from the response of the handler: the complete one if
// the handler has returned, otherwise the head and a stream.
func (x *exchange) respond(ctx *fasthttp.RequestCtx) error {
	if x.begun {
		x.writeFields(ctx)
		x.respondStream(ctx)
		return nil
	}
	x.close(nil)
	switch {
	case errors.Is(x.failure, http.ErrAbortHandler):
		ctx.SetStatusCode(http.StatusInternalServerError)
		return Take(ctx, func(t *Taken) { _ = t.Close() })
	case x.failure != nil:
		return x.failure
	}
	x.writeFields(ctx)
	switch {
	case x.sendsBody():
		ctx.Response.SetBodyRaw(x.buffer)
	case x.length >= 0:
		ctx.Response.Header.SetContentLength(int(x.length))
	case x.written > 0 && !x.flushed:
		ctx.Response.Header.SetContentLength(int(x.written))
	}
	return nil
}

// respondStream makes the exchange the body of the response. For HTTP/1.0 a body of
// unknown length ends with the connection: fasthttp would send chunks, which such a
// client does not understand (RFC 9112 §6.1).
func (x *exchange) respondStream(ctx *fasthttp.RequestCtx) {
	if x.conn == nil || x.length >= 0 || ctx.Request.Header.IsHTTP11() {
		ctx.Response.ImmediateHeaderFlush = x.flushed
		ctx.Response.SetBodyStream(&exchangeBody{x}, int(x.length))
		return
	}
	h := &ctx.Response.Header
	h.SetContentLength(-2)
	h.Del(fasthttp.HeaderTransferEncoding)
	ctx.SetConnectionClose()
	ctx.Response.SkipBody = true
	x.conn.tail = x
}

// close ends the exchange for the connection: further writes of the handler fail, and
// close waits until the handler has returned. A cause that is not nil also ends the
// context of the request.
func (x *exchange) close(cause error) {
	if cause != nil {
		x.cancel(cause)
	}
	x.stream.close()
	<-x.done
	x.client.stop()
	if x.conn != nil {
		x.conn.exchange.CompareAndSwap(x, nil)
	}
}

// watchClient makes the request's context end with ErrClientGone when the client closes
// the connection or its sending side.
func (x *exchange) watchClient() {
	if x.conn != nil {
		x.client.start(x.conn, func() { x.cancel(ErrClientGone) })
	}
}

// drain ends the context of an event stream: its client reconnects by itself. It is
// called when Run begins to drain, from any goroutine.
func (x *exchange) drain() {
	if x.events.Load() {
		x.cancel(http.ErrServerClosed)
	}
}

// logFailure logs a panic of a handler whose response has begun. Server.logFailure logs
// the panics that become a 500 response.
func (x *exchange) logFailure() {
	if x.conn == nil || errors.Is(x.failure, http.ErrAbortHandler) {
		return
	}
	attrs := []any{
		"request_id", x.id,
		"method", x.request.Method,
		"target", x.request.RequestURI,
		"client", x.request.RemoteAddr,
		"status", x.status,
		"error", x.failure,
	}
	if p, ok := errors.AsType[*pool.PanicError](x.failure); ok {
		attrs = append(attrs, "stack", string(p.Stack))
	}
	x.conn.srv.opts.Logger.Error("response incomplete", withTrace(attrs, traceID(x.request.Context(), false))...)
}

// clientWatch watches a connection for an exchange. The goroutine of the handler and
// that of the connection may both call start; only the first call has an effect.
type clientWatch struct {
	mu      sync.Mutex
	stopped bool
	release func() // nil before the start
}

func (w *clientWatch) start(c *conn, gone func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.release != nil || w.stopped {
		return
	}
	w.release = c.srv.watcher.watch(&c.watched, c.raw, gone)
}

func (w *clientWatch) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped = true
	if w.release != nil {
		w.release()
		w.release = nil
	}
}
