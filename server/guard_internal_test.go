package server

import (
	"bufio"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"
)

// If fasthttp and readFrame disagree about a head that both accept, the request is
// refused and the connection ends.
func TestDisagreementIsRefused(t *testing.T) {
	for raw, length := range map[string]int{
		"GET / HTTP/1.1\r\nHost: h\r\n\r\n":                                 5,
		"GET / HTTP/1.1\r\nHost: h\r\nX: y\r\n\r\n":                         -1,
		"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n":            6,
		"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\n":            0,
		"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 7\r\n\r\n":            -1,
		"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 8\r\n\r\n":            lengthRaw,
		"GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n":   0,
		"GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Chunked\r\n\r\n":   5,
		"GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding:\tchunked\r\n\r\n ": -1,
	} {
		srv, err := New(Options{}, []Route{{Method: "GET", Path: "/", Handler: func(*fasthttp.RequestCtx) error {
			t.Errorf("%q is handled with length %d", raw, length)
			return nil
		}}})
		if err != nil {
			t.Fatal(err)
		}
		c := &conn{Conn: &fuzzConn{}, srv: srv}
		var ctx fasthttp.RequestCtx
		ctx.Init2(c, nil, false)
		if err := ctx.Request.Header.Read(bufio.NewReader(strings.NewReader(raw))); err != nil {
			t.Fatal(err)
		}
		srv.preview(&ctx.Request.Header)
		ctx.Request.Header.SetContentLength(length)
		srv.serve(&ctx)
		if ctx.Response.StatusCode() != 400 || !ctx.Response.ConnectionClose() || !c.linger {
			t.Errorf("%q with length %d: %v, linger %v", raw, length, &ctx.Response, c.linger)
		}
	}
}
