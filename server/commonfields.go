package server

import (
	"net/http"
	"time"

	"github.com/valyala/fasthttp"
)

// protective are the fields that every answer carries, prepared once: this runs
// for every request. No answer may be taken for another type than it says, be
// framed, or tell other sites the address of a page. A handler that answers
// HTML adds a Content-Security-Policy of its own.
//
// Strict-Transport-Security is not among them: it binds a whole host for months,
// so it is for whoever owns the name to say.
var securityFields = [...]struct{ name, value []byte }{
	{[]byte(fasthttp.HeaderXContentTypeOptions), []byte("nosniff")},
	{[]byte(fasthttp.HeaderXFrameOptions), []byte("DENY")},
	{[]byte(fasthttp.HeaderReferrerPolicy), []byte("same-origin")},
}

var requestIDName = []byte(headerRequestID)

// stamp adds to an answer what all answers have, last of all, since an error
// drops what its handler wrote.
func addCommonFields(ctx *fasthttp.RequestCtx, c *conn) {
	h := &ctx.Response.Header
	for i := range securityFields {
		h.SetCanonical(securityFields[i].name, securityFields[i].value)
	}
	h.SetCanonical(requestIDName, c.id)
	if c.srv.cors != nil {
		c.srv.cors.addFields(h, ctx.Request.Header.Peek(fasthttp.HeaderOrigin))
	}
}

// logAccess writes the line of a request, for one request in
// Options.AccessLog.
func (s *Server) logAccess(ctx *fasthttp.RequestCtx, c *conn) {
	if n := s.opts.AccessLog; n <= 0 || n > 1 && s.requestCount.Add(1)%uint64(n) != 0 {
		return
	}
	size := ctx.Response.Header.ContentLength()
	if !ctx.Response.IsBodyStream() {
		size = len(ctx.Response.Body())
	}
	if ctx.IsHead() || ctx.Response.StatusCode() == http.StatusNoContent {
		size = 0
	}
	s.opts.Logger.Info("request",
		"request_id", string(c.id),
		"client", Client(ctx),
		"scheme", Scheme(ctx),
		"method", string(ctx.Method()),
		"target", string(ctx.RequestURI()),
		"status", ctx.Response.StatusCode(),
		"bytes", size, // of the body; -1 if its length is not known yet
		"duration", time.Since(ctx.Time()),
	)
}
