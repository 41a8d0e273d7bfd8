package server

import (
	"errors"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/galeserver/gale/pool"

	"github.com/valyala/fasthttp"
)

// preview runs when fasthttp has parsed a head and has read nothing of the body.
// It cannot answer, but what it makes of the length decides what fasthttp does
// next. A request that serve will refuse has its body withheld: with a length of
// 0, and no Expect, fasthttp reads nothing, promises nothing, and calls serve.
func (s *Server) preview(h *fasthttp.RequestHeader) {
	if h.ContentLength() == lengthNone {
		return
	}
	ctx, _ := s.scratch.Get().(*fasthttp.RequestCtx)
	if ctx == nil {
		ctx = new(fasthttp.RequestCtx)
	}
	f, _, err := s.admit(h, ctx)
	ctx.ResetUserValues()
	s.scratch.Put(ctx)

	switch {
	// A body without a route is drained like any that is left unread, but it is
	// not asked for.
	case err != nil && (f.length == lengthUnknown || f.expect || errors.Is(err, ErrBodyTooLarge)):
		h.SetContentLength(0)
		h.Del(fasthttp.HeaderExpect)
		return
	case f.length == lengthChunked:
		h.SetContentLength(lengthRaw)
	}
	if f.expect {
		h.Set(fasthttp.HeaderExpect, "100-continue") // fasthttp knows no other spelling
	} else {
		h.Del(fasthttp.HeaderExpect)
	}
}

// admit decides from the head alone whether a request is to be handled, and by
// which route, whose parameters it leaves in ctx. A route that refuses the
// request is returned with the error. It says the same of the same head each
// time: preview and serve both ask.
func (s *Server) admit(h *fasthttp.RequestHeader, ctx *fasthttp.RequestCtx) (frame, *Route, error) {
	f, err := readFrame(h)
	if err != nil {
		return f, nil, err
	}
	if err := checkTarget(h.RequestURI()); err != nil {
		return f, nil, err
	}
	r, err := s.routes.find(h.Method(), h.RequestURI(), ctx)
	if s.cors.isPreflight(h) {
		return f, s.preflight(h.RequestURI(), r), nil // whether there is a route or not
	}
	if err != nil {
		return f, nil, err
	}
	if r.Admit != nil {
		if err := r.Admit(h); err != nil {
			return f, r, err
		}
	}
	if f.hasBody() && isCoded(h) {
		return f, r, errCoded
	}
	if r.MaxBody >= 0 && f.length > r.MaxBody {
		return f, r, ErrBodyTooLarge
	}
	return f, r, nil
}

// errCoded refuses a body with a Content-Encoding, for which RFC 9110, section
// 15.5.16, has this status and Accept-Encoding. A handler would take the coded
// bytes for the content, and a small body may decode to a huge one.
var errCoded = &Error{
	Status: http.StatusUnsupportedMediaType, Reason: "a body with a Content-Encoding is not accepted: send it as it is",
	acceptEncoding: "identity",
}

// isCoded reports whether the content of a request is coded. The name identity is
// reserved for none (RFC 9110, section 8.4.1).
func isCoded(h *fasthttp.RequestHeader) bool {
	for coding := range strings.SplitSeq(List(h, fasthttp.HeaderContentEncoding), ",") {
		if coding = strings.TrimSpace(coding); coding != "" && !strings.EqualFold(coding, "identity") {
			return true
		}
	}
	return false
}

// serve is fasthttp's handler for every request.
func (s *Server) serve(ctx *fasthttp.RequestCtx) {
	c := ctx.Conn().(*conn) // Run hands fasthttp no other
	c.setPhase(serving)
	s.identify(&ctx.Request.Header, c)

	f, r, err := s.admit(&ctx.Request.Header, ctx)
	limit := int64(-1) // what no route reads, drain bounds
	if err == nil {
		limit = r.MaxBody
	}
	if f.hasBody() {
		c.lines.reset()
	}
	b, given := openBody(ctx, c, f, limit)
	switch {
	case err != nil:
	case !given:
		err = badHead("this request ends where nobody can tell")
	default:
		c.body = b
		err = pool.Protect(func() error { return r.Handler(ctx) })
		c.body = nil
	}
	if err != nil {
		s.answerError(ctx, err)
	}
	if r != nil {
		for _, field := range r.Header {
			ctx.Response.Header.Set(field[0], field[1])
		}
	}
	s.finish(ctx, c, f, b, given)
	stamp(ctx, c)

	s.opts.Meter.RequestDone(meterName(ctx.Method()), ctx.Response.StatusCode(), time.Since(ctx.Time()))
	s.logAccess(ctx, c)
	c.setPhase(answering)
}

// finish leaves the connection at the first byte of the next request, or sees to
// it that there will be none. It runs before the answer is written, which is
// when Connection: close can still be said.
func (s *Server) finish(ctx *fasthttp.RequestCtx, c *conn, f frame, b *body, given bool) {
	whole := given && (b == nil || b.take())
	switch {
	case f.close:
		// The client expects the end, so it need not be waited for; if it is
		// still sending it has to be.
		c.linger = !whole
	case !given, s.draining(), c.aborted.Load(), ctx.Response.ConnectionClose():
		c.linger = true
	case !whole && !b.drain():
		c.linger = true
	default:
		return
	}
	ctx.SetConnectionClose()
	if r := ctx.LastTimeoutErrorResponse(); r != nil {
		r.SetConnectionClose() // ctx.TimeoutError has made a copy
	}
}

// refuse is fasthttp's handler for what it could not read a head, or the first
// byte of a body, from. The connection ends after the answer.
func (s *Server) refuse(ctx *fasthttp.RequestCtx, err error) {
	c := ctx.Conn().(*conn)
	c.linger = true
	s.identify(&ctx.Request.Header, c)
	small := new(fasthttp.ErrSmallBuffer)
	unread := true
	switch {
	case errors.As(err, &small):
		err = Fail(http.StatusRequestHeaderFieldsTooLarge, "the head of the request is too large")
	case errors.Is(err, errLineEnd):
		err = badHead(errLineEnd.Error())
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = Fail(http.StatusRequestTimeout, "the request did not come in time")
	case errors.Is(err, fasthttp.ErrUnsupportedTransferEncoding):
		err = Fail(http.StatusNotImplemented, "the only transfer coding here is chunked, in HTTP/1.1, once")
		unread = false
	default:
		err = badHead("malformed request")
		unread = false // no browser sends one
	}
	s.answerError(ctx, err)
	stamp(ctx, c)
	if unread {
		s.cors.stampUnread(ctx)
	}
	s.opts.Meter.RequestDone(otherMethod, ctx.Response.StatusCode(), 0)
	s.logAccess(ctx, c)
}
