package server

import (
	"context"
	"time"

	"github.com/valyala/fasthttp"
)

// requestContext holds the deadline and the context of the current request of a
// connection. The next request uses it again.
type requestContext struct {
	deadline time.Time       // zero if there is none
	current  context.Context //nolint:containedctx // result of Context, as in http.Request; nil before the first call
	stop     func()          // ends current
}

// Context returns a context for the work of a request. It ends
//   - when the client closes the connection or its sending side (cause ErrClientGone),
//   - at the time of SetDeadline, which middleware.Timeout sets,
//   - when the handler has returned, so a body stream and the new owner of a connection
//     (see Take) cannot use it.
//
// It has the user values that ctx has at the first call. All calls in a request return
// the same context, unless SetDeadline is called between them. The first call costs as much
// as Gone. fasthttp's ctx is a context too, but it ends only with the
// server and has no deadline. Outside of a Server the context does not end.
func Context(ctx *fasthttp.RequestCtx) context.Context {
	c, ok := ctx.Conn().(*conn)
	if !ok {
		return withUserValues(context.Background(), ctx)
	}
	r := c.requestContext()
	if r.current == nil {
		r.current, r.stop = c.newContext(withUserValues(context.Background(), ctx))
	}
	return r.current
}

// SetDeadline sets the time at which the contexts of Context, Gone and HTTP end, with
// [context.DeadlineExceeded]. Contexts of Gone and HTTP that exist already do not change.
// An earlier deadline of the request stays. The deadline does not end the handler, nor a
// read of the body: a handler that does not use the context runs to its end, and its
// response is sent. Outside of a Server SetDeadline has no effect.
func SetDeadline(ctx *fasthttp.RequestCtx, deadline time.Time) {
	c, ok := ctx.Conn().(*conn)
	if !ok {
		return
	}
	r := c.requestContext()
	if !r.deadline.IsZero() && !deadline.Before(r.deadline) {
		return
	}
	r.deadline = deadline
	if r.current != nil {
		r.current, r.stop = withDeadline(r.current, r.stop, deadline)
	}
}

func (c *conn) requestContext() *requestContext {
	if c.context == nil {
		c.context = new(requestContext)
	}
	return c.context
}

// deadline returns the deadline of the current request, or the zero Time.
func (c *conn) deadline() time.Time {
	if c == nil || c.context == nil {
		return time.Time{}
	}
	return c.context.deadline
}

// endContext ends the context of the current request and drops its deadline.
func (c *conn) endContext() {
	r := c.context
	if r == nil {
		return
	}
	if r.stop != nil {
		r.stop()
	}
	*r = requestContext{}
}

// newContext returns a context that ends with the client's connection and at the
// deadline of the request. stop ends it, and must be called before the handler returns.
func (c *conn) newContext(parent context.Context) (_ context.Context, stop func()) {
	gone, cancel := context.WithCancelCause(parent)
	release := c.srv.watcher.watch(&c.watched, c.raw, func() { cancel(ErrClientGone) })
	return withDeadline(gone, func() {
		cancel(nil)
		release()
	}, c.deadline())
}

// withDeadline adds a deadline, unless it is zero, to a context that stop ends.
func withDeadline(parent context.Context, stop func(), deadline time.Time) (context.Context, func()) {
	if deadline.IsZero() {
		return parent, stop
	}
	bounded, cancel := context.WithDeadline(parent, deadline)
	return bounded, func() {
		cancel()
		stop()
	}
}

// withUserValues returns a context with the user values of ctx.
func withUserValues(parent context.Context, ctx *fasthttp.RequestCtx) context.Context {
	ctx.VisitUserValuesAll(func(key, value any) {
		if key != (routeKey{}) {
			parent = context.WithValue(parent, key, value)
		}
	})
	return parent
}
