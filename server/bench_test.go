package server_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"testing"
	"time"

	"github.com/galeserver/gale/server"

	"github.com/valyala/fasthttp"
	sdk "go.opentelemetry.io/otel/sdk/trace"
)

const benchRequest = "GET /hello HTTP/1.1\r\nHost: 127.0.0.1:8888\r\nUser-Agent: wrk\r\nAccept: */*\r\nAccept-Encoding: gzip\r\n\r\n"

// BenchmarkHello serves one request after the other on one connection, with fasthttp
// alone, with Server, and with Server and spans. The variant memory uses no sockets, so it measures only the CPU
// time of the server, and shows a larger difference than users see.
func BenchmarkHello(b *testing.B) {
	hello := func(ctx *fasthttp.RequestCtx) { ctx.SetBodyString("Hello, world!") }
	bare := func(b *testing.B, ln net.Listener) {
		srv := &fasthttp.Server{Handler: hello, StreamRequestBody: true, DisablePreParseMultipartForm: true, Name: "gale"}
		go func() { _ = srv.Serve(ln) }()
		b.Cleanup(func() { ln.Close() })
	}
	gale := func(b *testing.B, ln net.Listener, o server.Options) {
		srv, err := server.New(o, []server.Route{{Method: "GET", Path: "/hello", Handler: func(ctx *fasthttp.RequestCtx) error {
			hello(ctx)
			return nil
		}}})
		if err != nil {
			b.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- srv.Run(ctx, ln) }()
		b.Cleanup(func() { cancel(); <-ended })
	}
	for _, with := range []struct {
		name  string
		start func(*testing.B, net.Listener)
	}{
		{"bare", bare},
		{"gale", func(b *testing.B, ln net.Listener) { gale(b, ln, server.Options{}) }},
		{"traced", func(b *testing.B, ln net.Listener) { // the span is recorded and then dropped
			gale(b, ln, server.Options{TracerProvider: sdk.NewTracerProvider(sdk.WithSampler(sdk.AlwaysRecord(sdk.NeverSample())))})
		}},
	} {
		b.Run("tcp/"+with.name, func(b *testing.B) { benchTCP(b, with.start) })
		b.Run("memory/"+with.name, func(b *testing.B) { benchMemory(b, with.start) })
	}
}

func benchTCP(b *testing.B, start func(*testing.B, net.Listener)) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	start(b, ln)
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	buf := make([]byte, 4096)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := io.WriteString(c, benchRequest); err != nil {
			b.Fatal(err)
		}
		if n, err := c.Read(buf); err != nil || !bytes.HasSuffix(buf[:n], []byte("world!")) {
			b.Fatalf("%q, %v", buf[:n], err)
		}
	}
}

// benchMemory uses a client that costs no time: each read returns a request at once, and
// each write drops the response.
func benchMemory(b *testing.B, start func(*testing.B, net.Listener)) {
	c := &memoryConn{left: b.N, closed: make(chan struct{})}
	ln := make(memoryListener, 1)
	b.ReportAllocs()
	start(b, ln)
	b.ResetTimer()
	ln <- c
	<-c.closed
}

type memoryConn struct {
	left   int
	closed chan struct{}
}

func (c *memoryConn) Read(p []byte) (int, error) {
	if c.left == 0 {
		return 0, io.EOF
	}
	c.left--
	return copy(p, benchRequest), nil
}

func (c *memoryConn) Write(p []byte) (int, error)      { return len(p), nil }
func (c *memoryConn) Close() error                     { close(c.closed); return nil }
func (c *memoryConn) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c *memoryConn) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (c *memoryConn) SetDeadline(time.Time) error      { return nil }
func (c *memoryConn) SetReadDeadline(time.Time) error  { return nil }
func (c *memoryConn) SetWriteDeadline(time.Time) error { return nil }

type memoryListener chan net.Conn

func (l memoryListener) Accept() (net.Conn, error) {
	c, ok := <-l
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}
func (l memoryListener) Close() error   { close(l); return nil }
func (l memoryListener) Addr() net.Addr { return &net.TCPAddr{} }

// BenchmarkEmptyChain calls a handler itself, and through a chain without middleware.
func BenchmarkEmptyChain(b *testing.B) {
	h := server.Handler(func(*fasthttp.RequestCtx) error { return nil })
	for name, h := range map[string]server.Handler{"bare": h, "chain": server.Chain(h)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := h(nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
