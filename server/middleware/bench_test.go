package middleware_test

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"github.com/galeserver/gale/internal/redistest"
	"github.com/galeserver/gale/server"
	"github.com/galeserver/gale/server/cache"
	"github.com/galeserver/gale/server/limit"
	"github.com/galeserver/gale/server/middleware"
)

// The benchmarks serve requests on one connection that costs no time, with the handler
// alone and with one middleware around it. The difference is what the middleware costs.

func BenchmarkTimeout(b *testing.B) { compare(b, "", middleware.Timeout(time.Minute)) }

func BenchmarkBasicAuth(b *testing.B) {
	compare(b, "Authorization: "+basic("ada:lovelace")+"\r\n", middleware.BasicAuth("bench", func(user, password string) bool {
		return user == "ada" && middleware.Equal(password, "lovelace")
	}))
}

func BenchmarkBearerAuth(b *testing.B) {
	ada := &account{"Ada"}
	compare(b, "Authorization: Bearer lovelace\r\n", middleware.BearerAuth("bench", func(_ context.Context, token string) (*account, error) {
		if middleware.Equal(token, "lovelace") {
			return ada, nil
		}
		return nil, nil
	}))
}

// BenchmarkRateLimit includes a command of a redis-server on the same machine, as does
// BenchmarkCache.
func BenchmarkRateLimit(b *testing.B) {
	limiter := limit.New(redistest.Start(b).Client(), limit.Options{Limit: 1e6, Window: time.Second})
	compare(b, "", middleware.RateLimit(limiter, nil))
}

// BenchmarkCache measures stored responses: the handler runs for the first one only.
func BenchmarkCache(b *testing.B) {
	c := cache.New(redistest.Start(b).Client(), cache.Options{})
	compare(b, "", middleware.Cache(c, time.Hour, middleware.CacheOptions{}))
}

// compare serves requests with fields by the handler alone, and by the handler in m.
func compare(b *testing.B, fields string, m server.Middleware) {
	request := "GET / HTTP/1.1\r\nHost: 127.0.0.1:8888\r\n" + fields + "\r\n"
	for _, row := range []struct {
		name  string
		route server.Route
	}{{"bare", route("/", text("Hello, world!"))}, {"wrapped", route("/", text("Hello, world!"), m)}} {
		b.Run(row.name, func(b *testing.B) {
			s, err := server.New(server.Options{}, []server.Route{row.route})
			if err != nil {
				b.Fatal(err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			ended := make(chan error, 1)
			ln := make(listener, 1)
			go func() { ended <- s.Run(ctx, ln) }() // ends with ctx
			c := &conn{request: request, left: b.N, closed: make(chan struct{})}
			b.ReportAllocs()
			b.ResetTimer()
			ln <- c
			<-c.closed
			b.StopTimer()
			if c.written != b.N {
				b.Errorf("%d responses to %d requests", c.written, b.N)
			}
			cancel()
			if err := <-ended; err != nil {
				b.Error(err)
			}
		})
	}
}

// conn is a connection whose client sends the same request again and again.
type conn struct {
	request       string
	left, written int
	closed        chan struct{}
}

func (c *conn) Read(p []byte) (int, error) {
	if c.left == 0 {
		return 0, io.EOF
	}
	c.left--
	return copy(p, c.request), nil
}

func (c *conn) Write(p []byte) (int, error) {
	if string(p[:min(len(p), 12)]) == "HTTP/1.1 200" {
		c.written++
	}
	return len(p), nil
}

func (c *conn) Close() error                     { close(c.closed); return nil }
func (c *conn) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c *conn) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (c *conn) SetDeadline(time.Time) error      { return nil }
func (c *conn) SetReadDeadline(time.Time) error  { return nil }
func (c *conn) SetWriteDeadline(time.Time) error { return nil }

// listener returns the connections that are sent to it.
type listener chan net.Conn

func (l listener) Accept() (net.Conn, error) {
	c, ok := <-l
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}

func (l listener) Close() error   { close(l); return nil }
func (l listener) Addr() net.Addr { return &net.TCPAddr{} }
