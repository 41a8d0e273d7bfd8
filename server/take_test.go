package server_test

import (
	"io"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/server"
)

// takeRoute sends its connection and the head of a response to a channel.
func takeRoute(taken chan *server.Taken) server.Route {
	return server.Route{Method: "GET", Path: "/take", Handler: func(ctx *fasthttp.RequestCtx) error {
		ctx.SetContentType("text/event-stream")
		head, _ := server.Head(ctx)
		return server.Take(ctx, func(c *server.Taken) {
			_, _ = c.Write(head)
			taken <- c
		})
	}}
}

// A taken connection belongs to its new owner, including the bytes that the client sent
// after the request. It counts for the limits until it is closed.
func TestTake(t *testing.T) {
	t.Parallel()
	taken := make(chan *server.Taken, 1)
	s := open(t, server.Options{}, takeRoute(taken))
	c := dial(t, s)
	c.send(get("/take") + "ahead")
	owner := <-taken
	early := make([]byte, 5)
	if _, err := io.ReadFull(owner, early); err != nil || string(early) != "ahead" {
		t.Fatalf("sent ahead: %q, %v", early, err)
	}
	gone := make(chan struct{})
	stop := owner.Watch(func() { close(gone) })
	if _, err := io.WriteString(owner, "2\r\nhi\r\n0\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	a := c.response()
	if a.status != 200 || a.body != "hi" || a.header.Get("X-Request-Id") == "" || a.header.Get("X-Content-Type-Options") != "nosniff" || a.header.Get("Server") != "gale" {
		t.Errorf("%+v", a)
	}
	if n := s.meter.closed.Load(); n != 0 {
		t.Errorf("%d closed while it is open", n)
	}
	c.Close()
	<-gone
	stop()
	if err := owner.Close(); err != nil {
		t.Error(err)
	}
	if err := owner.Close(); err == nil {
		t.Error("closed twice")
	}
	testutil.Eventually(t, "it is counted as closed", func() bool { return s.meter.closed.Load() == 1 })
}

// HTTP/1.0 has no chunks: the body ends with the connection.
func TestTakeHTTP10(t *testing.T) {
	t.Parallel()
	taken := make(chan *server.Taken, 1)
	s := open(t, server.Options{}, takeRoute(taken))
	c := dial(t, s)
	c.send("GET /take HTTP/1.0\r\n\r\n")
	owner := <-taken
	if _, err := io.WriteString(owner, "hi"); err != nil {
		t.Fatal(err)
	}
	c.endSending() // Finish waits for that
	if err := owner.Finish(patience); err != nil {
		t.Error(err)
	}
	all, err := io.ReadAll(c.in)
	if text := string(all); err != nil || strings.Contains(text, "chunked") || !strings.HasSuffix(text, "\r\n\r\nhi") {
		t.Errorf("%q, %v", all, err)
	}
}
