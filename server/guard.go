package server

import (
	"errors"
	"net/http"
	"os"
	"strings"
	"time"
	"unsafe"

	"github.com/galeserver/gale/pool"

	"github.com/valyala/fasthttp"
)

// admission is the decision about a request. It is made once, before any of the body
// is read, and stays on the connection until the request ends.
type admission struct {
	frame frame
	route *Route // the matching route, or nil
	value any    // first result of Route.Admit
	err   error  // reason for a refusal, or nil
}

// Admission is a result of Route.Admit that hands more than one value to the handler.
type Admission struct {
	// Value is the result of Admitted.
	Value any
	// Key and UserValue become a user value of the request (ctx.UserValue), for
	// middleware that has its own part in the decision. Default: none.
	Key, UserValue any
}

// Admitted returns the first result of Route.Admit for the request, or the Value of an
// Admission. It is nil for a route without Admit and outside of a Server.
func Admitted(ctx *fasthttp.RequestCtx) any {
	c, ok := ctx.Conn().(*conn)
	if !ok {
		return nil
	}
	return c.admission.value
}

// preview runs when fasthttp has parsed a head and has read none of the body. It
// cannot send a response, but it can change the length that fasthttp sees. It hides the
// body of a request that serve will refuse: it sets the length to 0 and removes Expect.
// fasthttp then reads no body, sends no 100 Continue, and calls serve.
func (s *Server) preview(h *fasthttp.RequestHeader) {
	ctx := contextOf(h)
	c := ctx.Conn().(*conn) // listener returns no other type
	c.timing.endResponse(c) // if the request arrived together with the one before
	c.timing.endHead()
	c.admission = s.admit(h, ctx)
	c.timing.endAdmit()
	if h.ContentLength() == lengthNone {
		return
	}
	f, err := c.admission.frame, c.admission.err
	switch {
	// A body for a path without a route is drained like any unread body, but the client
	// gets no 100 Continue.
	case err != nil && (f.length == lengthUnknown || f.expect || errors.Is(err, ErrBodyTooLarge)):
		h.SetContentLength(0)
		h.Del(fasthttp.HeaderExpect)
		return
	case f.length == lengthChunked:
		h.SetContentLength(lengthRaw)
	}
	if f.expect {
		h.Set(fasthttp.HeaderExpect, "100-continue") // the only spelling that fasthttp accepts
	} else {
		h.Del(fasthttp.HeaderExpect)
	}
}

// contextOf returns the context of the request whose head is h. fasthttp passes only
// the head to HeaderReceived, but it is always the head of the context that the
// handler gets afterwards (Server.serveConnCounted as of 1.74). The head is a field of
// that context, at an offset that the compiler computes.
func contextOf(h *fasthttp.RequestHeader) *fasthttp.RequestCtx {
	var ctx *fasthttp.RequestCtx // only for its type: Offsetof does not evaluate
	offset := unsafe.Offsetof(ctx.Request) + unsafe.Offsetof(ctx.Request.Header)
	return (*fasthttp.RequestCtx)(unsafe.Add(unsafe.Pointer(h), -int(offset)))
}

// admit decides from the head alone whether to handle a request, and finds its route. It
// stores the route's parameters in ctx.
func (s *Server) admit(h *fasthttp.RequestHeader, ctx *fasthttp.RequestCtx) (a admission) {
	if a.frame, a.err = readFrame(h); a.err != nil {
		return a
	}
	if a.err = checkTarget(h.RequestURI()); a.err != nil {
		return a
	}
	a.route, a.err = s.routes.find(h.Method(), h.RequestURI(), ctx)
	if s.cors.isPreflight(h) {
		a.route, a.err = s.preflight(h.RequestURI(), a.route), nil // whether there is a route or not
		return a
	}
	if a.err != nil {
		return a
	}
	if a.route.Admit != nil {
		a.err = pool.Protect(func() (err error) {
			a.value, err = a.route.Admit(h)
			return err
		})
		if more, ok := a.value.(Admission); ok {
			if a.value = more.Value; more.Key != nil {
				ctx.SetUserValue(more.Key, more.UserValue)
			}
		}
	}
	switch {
	case a.err != nil:
	case a.frame.hasBody() && hasContentCoding(h):
		a.err = errContentCoding
	case a.route.MaxBody >= 0 && a.frame.length > a.route.MaxBody:
		a.err = ErrBodyTooLarge
	}
	return a
}

// errContentCoding is the response to a body with a Content-Encoding (RFC 9110
// §15.5.16). A handler would take the encoded bytes for the content. The server does not
// decode them, since a small body may decode to a huge one.
var errContentCoding = &Error{
	Status: http.StatusUnsupportedMediaType, Reason: "a body with a Content-Encoding is not accepted, send it without",
	acceptEncoding: "identity",
}

// hasContentCoding reports whether the content of a request is encoded. The name
// identity means that it is not (RFC 9110 §8.4.1).
func hasContentCoding(h *fasthttp.RequestHeader) bool {
	for coding := range strings.SplitSeq(List(h, fasthttp.HeaderContentEncoding), ",") {
		if coding = strings.TrimSpace(coding); coding != "" && !strings.EqualFold(coding, "identity") {
			return true
		}
	}
	return false
}

// serve is fasthttp's handler for every request.
func (s *Server) serve(ctx *fasthttp.RequestCtx) {
	c := ctx.Conn().(*conn) // listener returns no other type
	c.setPhase(serving)
	s.identify(&ctx.Request.Header, c)

	f, r, err := c.admission.frame, c.admission.route, c.admission.err
	span := s.startSpan(ctx, c, r)
	limit := int64(-1) // a refused request has no handler: only drain reads its body
	if err == nil {
		limit = r.MaxBody
	}
	if f.hasBody() {
		c.lines.reset()
	}
	b, framingOK := openBody(ctx, c, f, limit)
	switch {
	case err != nil:
	case !framingOK:
		err = badRequest("the end of the request is not known")
	default:
		c.body = b
		err = pool.Protect(func() error { return r.Handler(ctx) })
		c.body = nil
		c.endContext()
	}
	if c.tail != nil && (err != nil || !ctx.Response.SkipBody) { // middleware has another response
		c.tail.close(nil)
		c.tail = nil
	}
	if err != nil {
		s.respondError(ctx, err)
	}
	if r != nil {
		r.setHeader(&ctx.Response.Header)
	}
	s.finish(ctx, c, f, b, framingOK)
	addCommonFields(ctx, c)
	s.zip.apply(ctx, r)

	s.opts.Meter.RequestDone(meterName(ctx.Method()), ctx.Response.StatusCode(), time.Since(ctx.Time()))
	s.logAccess(ctx, c)
	endSpan(ctx, span, f, err)
	c.timing.endHandler(ctx, r, b)
	c.admission = admission{}
	c.setPhase(responding)
}

// finish reads the rest of the body, so that the connection is at the first byte of the
// next request. If that is not possible, it makes the connection close after the
// response. It runs before the response is written, so it can still set Connection:
// close.
func (s *Server) finish(ctx *fasthttp.RequestCtx, c *conn, f frame, b *body, framingOK bool) {
	complete := framingOK && (b == nil || b.release())
	switch {
	case f.close:
		// The client expects the connection to close. Only a client that is still
		// sending needs a lingering close.
		c.linger = !complete
	case !framingOK, s.draining(), c.aborted.Load(), ctx.Response.ConnectionClose():
		c.linger = true
	case !complete && !b.drain():
		c.linger = true
	default:
		return
	}
	ctx.SetConnectionClose()
	if r := ctx.LastTimeoutErrorResponse(); r != nil {
		r.SetConnectionClose() // ctx.TimeoutError copies the response
	}
}

// refuse is fasthttp's error handler. It responds to a request whose head, or whose
// first byte of the body, fasthttp could not read. The connection ends after the
// response.
func (s *Server) refuse(ctx *fasthttp.RequestCtx, err error) {
	c := ctx.Conn().(*conn)
	c.linger = true
	s.identify(&ctx.Request.Header, c)
	tooSmall := new(fasthttp.ErrSmallBuffer)
	originUnknown := true // the head was not read completely
	switch {
	case errors.As(err, &tooSmall):
		err = Fail(http.StatusRequestHeaderFieldsTooLarge, "the head of the request is too large")
	case errors.Is(err, errLineEnd):
		err = badRequest(errLineEnd.Error())
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = Fail(http.StatusRequestTimeout, "the request timed out")
	case errors.Is(err, fasthttp.ErrUnsupportedTransferEncoding):
		err = Fail(http.StatusNotImplemented, "the only supported transfer coding is chunked, in HTTP/1.1, once")
		originUnknown = false
	default:
		err = badRequest("malformed request")
		originUnknown = false // no browser sends such a head
	}
	s.respondError(ctx, err)
	addCommonFields(ctx, c)
	if originUnknown {
		s.cors.addFieldsForAnyOrigin(ctx)
	}
	s.opts.Meter.RequestDone(otherMethod, ctx.Response.StatusCode(), 0)
	s.logAccess(ctx, c)
}
