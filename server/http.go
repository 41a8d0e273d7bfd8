package server

import (
	"net/http"

	"github.com/valyala/fasthttp"
)

// HTTP adapts a handler of package net/http.
//
// The handler runs on a goroutine of its own. The response is sent when the handler
// returns, or earlier: after Flush, or when it does not fit into 4 KiB. From then on
// every Write blocks until its bytes are written to the connection, so a slow client
// slows the handler down and the response needs no more memory. As in net/http the
// request body can be read until the response begins; then Read fails with
// [http.ErrBodyReadAfterClose]. The limit of the body is Route.MaxBody. Read of a longer
// body returns an error that wraps ErrBodyTooLarge and [http.MaxBytesError].
//
// The request has these parts:
//   - URL is without Options.BasePath, RequestURI is as the client sent it.
//   - RemoteAddr is the address of Client; the port is 0 if a trusted proxy named it.
//   - PathValue returns the parameters of the route, as Param does.
//   - Trailer is nil: the server drops the trailers of a request.
//   - Context ends when the handler returns, when the client closes the connection or
//     its sending side (cause ErrClientGone; not while a body is read), at the
//     deadline of SetDeadline, even if the response has begun, and when
//     Options.Grace is over (cause ErrGrace). The context of an event stream, a
//     response with the content type text/event-stream, ends as soon as Run starts to
//     drain (cause [http.ErrServerClosed]), because its client reconnects. Context
//     holds the user values of the fasthttp context.
//
// The http.ResponseWriter is an [http.Flusher]. It is no [http.Hijacker], and the
// methods of [http.ResponseController] other than Flush fail with an error that wraps
// [http.ErrNotSupported]. Informational responses (1xx) and trailers are not sent. A
// response without a body (HEAD, 204, 304) is sent when the handler returns; a Flush
// in a HEAD request ends the context, because nothing else is sent.
//
// A panic becomes a 500 response like that of a Handler. If the response has begun,
// the panic is logged and the connection ends before the response is complete. A
// panic with [http.ErrAbortHandler] ends the connection without a log line; if the
// response has not begun, the client gets none, and a Meter gets status 500.
//
// To mount a router below a path, use a Route with a path such as "/debug/{path:*}",
// one for each method, and http.StripPrefix.
func HTTP(h http.Handler) Handler {
	return func(ctx *fasthttp.RequestCtx) error {
		x, err := newExchange(ctx)
		if err != nil {
			return err
		}
		go x.run(h) // x.close waits for it
		<-x.ready
		return x.respond(ctx)
	}
}
