package server_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/galeserver/gale/server"

	"github.com/valyala/fasthttp"
)

// If a client stops in the middle of a body, another goroutine can end the handler's
// Read. The client gets the response, and then the connection ends. It also ends if the
// body was complete, since reading the next request would fail.
func TestBodyAborter(t *testing.T) {
	waiting := make(chan struct{})
	srv, err := server.New(server.Options{}, []server.Route{
		{Method: http.MethodPost, Path: "/hangs", Handler: func(ctx *fasthttp.RequestCtx) error {
			abort := server.BodyAborter(ctx)
			go func() { // ends with the abort
				<-waiting
				abort()
				close(waiting)
			}()
			data := make([]byte, 3)
			if _, err := io.ReadFull(server.Body(ctx), data); err != nil {
				return err
			}
			waiting <- struct{}{}
			_, err := server.Body(ctx).Read(data)
			<-waiting // the abort ends before the handler
			if !errors.Is(err, server.ErrBodyTruncated) {
				t.Errorf("the read ends with %v", err)
			}
			return server.Fail(http.StatusLocked, "cut")
		}},
		{Method: http.MethodPost, Path: "/whole", Handler: func(ctx *fasthttp.RequestCtx) error {
			if _, err := io.Copy(io.Discard, server.Body(ctx)); err != nil {
				return err
			}
			server.BodyAborter(ctx)()
			return nil
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	dial := dialing(t, srv)
	for _, row := range []struct {
		path   string
		status int
	}{{"/hangs", http.StatusLocked}, {"/whole", http.StatusOK}} {
		conn := dial()
		length := 3
		if row.path == "/hangs" {
			length = 10
		}
		if _, err := fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\nabc", row.path, length); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatalf("%s: %v", row.path, err)
		}
		if resp.StatusCode != row.status || !resp.Close {
			t.Errorf("%s: %d, close %v", row.path, resp.StatusCode, resp.Close)
		}
		resp.Body.Close()
	}
}

// Every response has the fields of Route.Header, even that of a refused request.
func TestRouteHeader(t *testing.T) {
	fields := [][2]string{{"Protocol", "1"}}
	refuse := func(*fasthttp.RequestHeader) (any, error) { return nil, server.Fail(http.StatusForbidden, "no") }
	fine := func(*fasthttp.RequestCtx) error { return nil }
	srv, err := server.New(server.Options{MaxBody: 1}, []server.Route{
		{Method: http.MethodPost, Path: "/fine", Header: fields, Handler: fine},
		{Method: http.MethodPost, Path: "/fails", Header: fields, Handler: func(*fasthttp.RequestCtx) error { return errors.New("no") }},
		{Method: http.MethodPost, Path: "/refused", Header: fields, Admit: refuse, Handler: fine},
	})
	if err != nil {
		t.Fatal(err)
	}
	conn := dialing(t, srv)()
	responses := bufio.NewReader(conn)
	for _, row := range []struct {
		path, body, want string
		status           int
	}{
		{"/fine", "", "1", 200}, {"/fails", "", "1", 500}, {"/refused", "", "1", 403}, {"/none", "", "", 404}, {"/fine", "ab", "1", 413},
	} {
		if _, err := fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", row.path, len(row.body), row.body); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(responses, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if resp.StatusCode != row.status || resp.Header.Get("Protocol") != row.want {
			t.Errorf("%s: %d, %q", row.path, resp.StatusCode, resp.Header.Get("Protocol"))
		}
	}
}

// dialing runs srv and returns a function that connects to it.
func dialing(t *testing.T, srv *server.Server) (dial func() net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- srv.Run(ctx, ln) }() // ends with stop
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return func() net.Conn {
		conn, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(patience))
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
}
