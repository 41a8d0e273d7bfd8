package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync/atomic"

	"github.com/valyala/fasthttp"
)

// makeRequest sets the request of x and its context. Everything in it is a copy, except
// for the body.
func (x *exchange) makeRequest(ctx *fasthttp.RequestCtx) error {
	h := &ctx.Request.Header
	target := string(h.RequestURI())
	u, err := x.parseTarget(target)
	if err != nil {
		return badRequest("the request target is malformed")
	}
	r := &http.Request{
		Method:     string(h.Method()),
		URL:        u,
		Proto:      string(h.Protocol()),
		ProtoMajor: 1,
		Header:     make(http.Header, h.Len()),
		Host:       string(h.Host()),
		RemoteAddr: remoteAddr(ctx),
		RequestURI: target,
	}
	if h.IsHTTP11() {
		r.ProtoMinor = 1
	}
	if u.Host != "" { // RFC 9112 §3.2.2
		r.Host = u.Host
	}
	x.setBody(ctx, r)
	for name, value := range h.All() {
		switch string(name) {
		case fasthttp.HeaderHost, fasthttp.HeaderTransferEncoding, fasthttp.HeaderTrailer:
		default:
			r.Header.Add(string(name), string(value))
		}
	}
	if x.conn != nil {
		r.Close = x.conn.admission.frame.close
		if x.conn.tls != nil {
			state := x.conn.tls.ConnectionState()
			r.TLS = &state
		}
	}
	background := context.WithValue(context.Background(), http.LocalAddrContextKey, ctx.LocalAddr())
	ctx.VisitUserValuesAll(func(key, value any) {
		if key == (routeKey{}) {
			return
		}
		background = context.WithValue(background, key, value)
		if name, ok := key.(string); ok {
			if _, ok := value.(string); ok {
				r.SetPathValue(name, Param(ctx, name))
			}
		}
	})
	background, cancel := context.WithCancelCause(background)
	background, stop := withDeadline(background, func() { cancel(nil) }, x.conn.deadline())
	x.cancel = func(cause error) {
		cancel(cause)
		stop()
	}
	x.request = r.WithContext(background)
	return nil
}

// parseTarget returns the URL of a request target, without the base path.
func (x *exchange) parseTarget(target string) (*url.URL, error) {
	u, err := url.ParseRequestURI(target)
	if err != nil || x.conn == nil {
		return u, err
	}
	rest, hadBase := x.conn.srv.routes.withoutBase(targetPath([]byte(target)))
	if !hadBase {
		return u, nil
	}
	relative, err := url.ParseRequestURI(string(rest))
	if err != nil {
		return nil, err
	}
	u.Path, u.RawPath = relative.Path, relative.RawPath
	return u, nil
}

// setBody sets the body of a request, its ContentLength and its TransferEncoding.
func (x *exchange) setBody(ctx *fasthttp.RequestCtx, r *http.Request) {
	var length int64
	switch {
	case x.conn == nil:
		length = int64(len(ctx.PostBody()))
	case x.conn.body != nil:
		length = x.conn.admission.frame.length // lengthChunked is -1, as here
	}
	if length == 0 {
		r.Body = http.NoBody
		return
	}
	if length < 0 {
		r.TransferEncoding = []string{"chunked"}
	}
	r.ContentLength = length
	body := &httpBody{x: x, body: Body(ctx)}
	if x.conn != nil {
		body.limit = x.conn.admission.route.MaxBody
	}
	r.Body = body
}

// remoteAddr returns the address of the client as net/http writes it.
func remoteAddr(ctx *fasthttp.RequestCtx) string {
	peer, client := ctx.RemoteAddr(), Client(ctx)
	tcp, ok := peer.(*net.TCPAddr)
	if !ok || !client.IsValid() || tcp.AddrPort().Addr().Unmap().WithZone("") == client {
		return peer.String()
	}
	return netip.AddrPortFrom(client, 0).String()
}

// httpBody is the body of a request to an http.Handler.
type httpBody struct {
	x      *exchange
	body   io.Reader
	limit  int64 // Route.MaxBody
	closed atomic.Bool
}

// Read reads from Body. It wraps the errors of Body with those that net/http would
// return.
func (b *httpBody) Read(p []byte) (int, error) {
	if b.closed.Load() {
		return 0, http.ErrBodyReadAfterClose
	}
	n, err := b.body.Read(p)
	if err == nil {
		return n, nil
	}
	b.x.watchClient()
	switch {
	case errors.Is(err, ErrBodyClosed):
		err = http.ErrBodyReadAfterClose
	case errors.Is(err, ErrBodyTruncated):
		err = fmt.Errorf("%w: %w", err, io.ErrUnexpectedEOF)
	case errors.Is(err, ErrBodyTooLarge):
		err = fmt.Errorf("%w: %w", err, &http.MaxBytesError{Limit: b.limit})
	}
	return n, err
}

// Close makes further reads fail. The server drains the rest of the body.
func (b *httpBody) Close() error {
	b.closed.Store(true)
	return nil
}
