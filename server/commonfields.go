package server

import (
	"net/http"
	"time"

	"github.com/valyala/fasthttp"
)

var requestIDName = []byte(headerRequestID)

// addCommonFields adds the fields that every response has. It must run after
// respondError, which removes fields that the handler has set.
func addCommonFields(ctx *fasthttp.RequestCtx, c *conn) {
	h := &ctx.Response.Header
	common := &c.srv.common
	common.add(h, len(common.onHTTPS) > 0 && Scheme(ctx) == "https")
	if r := c.admission.route; r != nil && r.setsSecurity {
		r.setHeader(h) // again, since Route.Header has precedence
	}
	h.SetCanonical(requestIDName, c.id)
	if c.srv.cors != nil {
		c.srv.cors.addFields(h, ctx.Request.Header.Peek(fasthttp.HeaderOrigin))
	}
}

// logAccess writes the access log line for every n-th request, see Options.AccessLog.
func (s *Server) logAccess(ctx *fasthttp.RequestCtx, c *conn) {
	if n := s.opts.AccessLog; n <= 0 || n > 1 && s.requestCount.Add(1)%uint64(n) != 0 {
		return
	}
	s.opts.Logger.Info("request", withTrace([]any{
		"request_id", string(c.id),
		"client", Client(ctx),
		"scheme", Scheme(ctx),
		"method", string(ctx.Method()),
		"target", string(ctx.RequestURI()),
		"status", ctx.Response.StatusCode(),
		"bytes", responseSize(ctx), // of the body; -1 for a stream
		"duration", time.Since(ctx.Time()),
	}, traceID(ctx, ctx.Response.StatusCode() >= http.StatusInternalServerError))...)
}
