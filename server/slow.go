package server

import (
	"bytes"
	"net/http"
	"net/netip"
	"time"

	"github.com/valyala/fasthttp"
)

// timing holds the times of the current request of a connection, for
// Options.SlowRequest. Only the goroutine of the connection uses it. Its methods do
// nothing if it is nil.
type timing struct {
	begun    time.Time // first byte of the head; zero if it arrived together with the request before
	headRead time.Time // end of the head
	admitted time.Time // end of Admit
	served   time.Time // end of the handler; zero while no response is due
	body     time.Duration
	longPoll bool // see LongPoll

	method, route string
	trace         string // id of the trace, or empty
	status        int
	client        netip.Addr
}

// LongPoll says that the request waits for an event, so that the log of slow requests
// (Options.SlowRequest) leaves it out. Handlers need not call it if they take the
// connection, as package realtime does. It does nothing outside of a Server.
func LongPoll(ctx *fasthttp.RequestCtx) {
	if c, ok := ctx.Conn().(*conn); ok && c.timing != nil {
		c.timing.longPoll = true
	}
}

// beginHead is called when the first byte of a head has been read.
func (t *timing) beginHead() {
	if t != nil {
		t.begun = time.Now()
	}
}

// endHead is called when a head is complete, before Admit.
func (t *timing) endHead() {
	if t == nil {
		return
	}
	t.headRead, t.longPoll = time.Now(), false
	if t.begun.IsZero() {
		t.begun = t.headRead
	}
}

// endAdmit is called after Admit.
func (t *timing) endAdmit() {
	if t != nil {
		t.admitted = time.Now()
	}
}

// endHandler is called when the response is complete in memory, or its body stream begins.
// r may be nil, and b is the body of the request or nil.
func (t *timing) endHandler(ctx *fasthttp.RequestCtx, r *Route, b *body) {
	switch {
	case t == nil:
		return
	case t.longPoll || ctx.Hijacked() || bytes.HasPrefix(ctx.Response.Header.ContentType(), []byte(EventStream)):
		t.begun = time.Time{}
		return
	}
	t.served = time.Now()
	// fasthttp calls the handler after it has read the first byte of the body.
	t.body = ctx.Time().Sub(t.admitted)
	if b != nil {
		t.body += b.waited
	}
	t.method, t.status, t.client, t.route = methodName(ctx.Method()), ctx.Response.StatusCode(), Client(ctx), ""
	t.trace = traceID(ctx, t.status >= http.StatusInternalServerError)
	if r != nil {
		t.route = r.Path
	}
}

// endResponse is called when the response has been written or the connection is closing,
// at the latest before the next request is served. It logs the request if it was slow.
func (t *timing) endResponse(c *conn) {
	if t == nil || t.served.IsZero() {
		return
	}
	now := time.Now()
	if limit, took := c.srv.opts.SlowRequest, now.Sub(t.begun); took >= limit {
		if n := c.srv.slowLog.add(now); n > 0 {
			t.log(c, now, took, n-1)
		}
	}
	*t = timing{}
}

// log writes the line of a slow request. suppressed is the number of slow requests since
// the line before that got none.
func (t *timing) log(c *conn, now time.Time, took time.Duration, suppressed int64) {
	handler := max(0, t.served.Sub(t.headRead)-t.body)
	c.srv.opts.Logger.Warn("slow request", withTrace([]any{
		"request_id", string(c.id),
		"client", t.client,
		"method", t.method,
		"route", t.route,
		"status", t.status,
		"duration", took,
		"head", t.headRead.Sub(t.begun), // reading the head
		"body", t.body, // waiting for the body of the request
		"handler", handler, // Admit, middleware and handler
		"write", now.Sub(t.served), // writing the response, until the kernel has it
		"suppressed", suppressed,
	}, t.trace)...)
}
