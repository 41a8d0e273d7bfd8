package server_test

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/server"
)

// TestUnreadIsNeverTheNextRequest hides a request in a body that the handler does not
// read completely, and sends an ordinary request after it. The server must never run the
// hidden request. The ordinary one must get exactly one response if the connection stays
// open, and none if it does not.
func TestUnreadIsNeverTheNextRequest(t *testing.T) {
	t.Parallel()
	const most = 256 << 10 // largest unread rest that the server drains
	big := strings.Repeat("x", most+1)
	fits := strings.Repeat("x", most-len(getHidden)) + getHidden
	form := "--b\r\nContent-Disposition: form-data; name=\"d\"; filename=\"f\"\r\n\r\nfile\r\n--b--\r\n"
	multi := func(raw string) string {
		return strings.Replace(raw, "Host: test\r\n", "Host: test\r\nContent-Type: multipart/form-data; boundary=b\r\n", 1)
	}

	for _, row := range []struct{ name, raw, want string }{
		{"content-length, unread", post("/ignore", getHidden), "200 200"},
		{"content-length, partly read", post("/part", "12345"+getHidden), "200 200"},
		{"content-length on GET", strings.Replace(post("/", getHidden), "POST", "GET", 1), "200 200"},
		{"as much as is drained", post("/ignore", fits), "200 200"},
		{"more than is drained", post("/ignore", big+getHidden), "200"},
		{"chunked, unread", postChunked("/ignore", getHidden), "200 200"},
		{"chunked, in many", postChunked("/ignore", strings.Split(getHidden, "")...), "200 200"},
		{"chunked, partly read", postChunked("/part", "123", "45"+getHidden, getHidden), "200 200"},
		{"chunked, as much as is drained", postChunked("/ignore", fits), "200 200"},
		{"chunked, more than is drained", postChunked("/ignore", big, getHidden), "200"},
		{"chunked, one chunk too large to drain", postChunked("/part", "12345"+big+getHidden), "200"},
		{"in an extension", strings.Replace(postChunked("/ignore", "abc"), "3\r\n", "3;GET /hidden HTTP/1.1\r\n", 1), "200 200"},
		{"in an extension, with a bare LF", strings.Replace(postChunked("/ignore", "abc"), "3\r\n", "3;\n"+getHidden+"\r\n", 1), "200"},
		{"in the trailers", strings.Replace(postChunked("/ignore", "abc"), "0\r\n", "0\r\nX: y\r\nGET /hidden HTTP/1.1: a\r\nHost: test\r\n", 1), "200"},
		{"after trailers with bare LFs", strings.Replace(postChunked("/ignore", "abc"), "0\r\n\r\n", "0\r\nX: y\n\n"+getHidden, 1), "200"},
		{"after a last chunk with a bare LF", strings.Replace(postChunked("/ignore", "abc"), "0\r\n\r\n", "0\n\n"+getHidden, 1), "200"},
		{"after a flood of LFs", strings.Replace(postChunked("/ignore", "abc"), "0\r\n\r\n", "0\r\n"+strings.Repeat("\n", 9000)+getHidden, 1), "200"},
		{"after a broken chunk", strings.Replace(postChunked("/ignore", "abc"), "abc\r\n", "abcd\r\n"+getHidden, 1), "200"},
		{"epilogue of a multipart body", multi(post("/form", form+getHidden)), "200 200"},
		{"epilogue, chunked", multi(postChunked("/form", form, getHidden)), "200 200"},
		{"epilogue, more than is drained", multi(post("/form", form+big+big+getHidden)), "200"},
		{"no such route", post("/none", getHidden), "404 200"},
		{"no such route, chunked", postChunked("/none", getHidden), "404 200"},
		{"no such route, more than is drained", post("/none", big+getHidden), "404"},
		{"no such method", strings.Replace(post("/read", getHidden), "POST", "DELETE", 1), "405 200"},
		{"OPTIONS", strings.Replace(post("/read", getHidden), "POST", "OPTIONS", 1), "204 200"},
		{"panic", post("/panic", getHidden), "500 200"},
		{"panic, chunked", postChunked("/panic", getHidden), "500 200"},
		{"panic, more than is drained", post("/panic", big+getHidden), "500"},
		{"error", post("/fail", getHidden), "500 200"},
		{"over the route's limit", post("/limited", strings.Repeat("x", 1000)+getHidden), "413"},
		{"over the route's limit, chunked, unread", postChunked("/limited", strings.Repeat("x", 1000), getHidden), "200"},
		{"over the limit, read, chunked", postChunked("/read", strings.Repeat("x", 1<<20), getHidden), "413"},
		{"client closes", "POST /ignore HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Length: 9\r\n\r\n" + getHidden, "200"},
		{"length shorter than the body", "POST /read HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n\r\nabcGET", "200 405"},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := open(t, server.Options{})
			got := talk(t, s, row.raw+post("/read", "honest"))
			if statuses(got) != row.want {
				t.Errorf("got %q, want %q", statuses(got), row.want)
			}
			if n := s.hidden.Load(); n != 0 {
				t.Errorf("the hidden request was run %d times", n)
			}
			honest := 0
			for _, a := range got[1:] {
				if a.status == 200 && a.body == "6" {
					honest++
				}
			}
			if want := strings.Count(row.want, " 200"); honest != want {
				t.Errorf("%d responses to the honest request, want %d", honest, want)
			}
			if first := got[0]; first.close != (len(got) == 1) {
				t.Errorf("Connection: close is %v, with %d responses", first.close, len(got))
			}
		})
	}
}

// TestForbiddenWays checks that the guarantee does not depend on the handlers: each of
// these reads the body in a way that the documentation forbids.
func TestForbiddenWays(t *testing.T) {
	t.Parallel()
	routes := map[string]server.Handler{
		"/postbody":  func(ctx *fasthttp.RequestCtx) error { ctx.PostBody(); return nil },
		"/formvalue": func(ctx *fasthttp.RequestCtx) error { ctx.FormValue("x"); return nil },
		"/both": func(ctx *fasthttp.RequestCtx) error {
			ctx.PostBody()
			_, err := server.ReadAll(ctx)
			return err
		},
		"/reset":   func(ctx *fasthttp.RequestCtx) error { ctx.Request.Reset(); return nil },
		"/stream":  func(ctx *fasthttp.RequestCtx) error { return ctx.Request.CloseBodyStream() },
		"/timeout": func(ctx *fasthttp.RequestCtx) error { ctx.TimeoutError("too late"); return nil },
	}
	var list []server.Route
	for path, handler := range routes {
		list = append(list, server.Route{Method: "POST", Path: path, MaxBody: -1, Handler: handler})
	}
	s := open(t, server.Options{ReadTimeout: 2 * time.Second}, list...)
	for path := range routes {
		for _, raw := range []string{
			post(path, getHidden), postChunked(path, getHidden), post(path, strings.Repeat(getHidden, 10000)),
			strings.Replace(post(path, getHidden), "Host", "Content-Type: application/x-www-form-urlencoded\r\nHost", 1),
		} {
			all := talk(t, s, raw+get("/"))
			if n := s.hidden.Load(); n != 0 {
				t.Fatalf("%s: a hidden request was run %d times", path, n)
			}
			if len(all) > 2 || len(all) == 2 && all[1].body != "hello" {
				t.Errorf("%s: %+v", path, all)
			}
		}
	}
}

func TestPipeline(t *testing.T) {
	t.Parallel()
	s := open(t, server.Options{})
	var raw strings.Builder
	var want []string
	for i := range 50 {
		body := strings.Repeat("b", i)
		raw.WriteString(post("/read", body) + post("/ignore", body) + postChunked("/read", "x", body+"y") + get("/"))
		want = append(want, fmt.Sprint(i), "ignored", fmt.Sprint(i+2), "hello")
	}
	var got []string
	for _, a := range talk(t, s, raw.String()) {
		got = append(got, a.body)
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestErrorResponses(t *testing.T) {
	t.Parallel()
	var log testutil.LogBuffer
	s := open(t, server.Options{
		Logger: slog.New(slog.NewTextHandler(&log, nil)),
		Errors: []server.ErrorStatus{{Err: errTeapot, Status: http.StatusTeapot, Reason: "a teapot"}},
	})
	if got := talk(t, s, post("/fail", ""))[0]; got.status != 418 || got.body != `{"code":418,"reason":"a teapot"}` {
		t.Errorf("error of the application: %+v", got)
	}
	if log.String() != "" {
		t.Errorf("logged: %s", log.String())
	}

	got := talk(t, s, post("/panic", ""))[0]
	if got.status != 500 || got.body != `{"code":500,"reason":"internal error"}` ||
		got.header.Get("Content-Type") != "application/json" || got.header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("panic: %+v", got)
	}
	id := got.header.Get("X-Request-Id")
	for _, want := range []string{"request_id=" + id, "at the disco", "harness_test.go", "method=POST", "target=/panic"} {
		if id == "" || !strings.Contains(log.String(), want) {
			t.Errorf("request id %q, and no %q in the log: %s", id, want, log.String())
		}
	}
	if seen := s.meter.seen(); !slices.Equal(seen, []string{"POST 418", "POST 500"}) {
		t.Errorf("meter: %q", seen)
	}
}

func TestContinue(t *testing.T) {
	t.Parallel()
	expect := func(path, framing string) string {
		return "POST " + path + " HTTP/1.1\r\nHost: test\r\nExpect: 100-Continue\r\n" + framing + "\r\n\r\n"
	}
	s := open(t, server.Options{})
	for _, framing := range []string{"Content-Length: 9", "Transfer-Encoding: chunked"} {
		t.Run("wanted, "+framing, func(t *testing.T) {
			c := dial(t, s)
			c.send(expect("/read", framing))
			if got := c.response(); got.status != 100 {
				t.Fatalf("got %+v", got)
			}
			if strings.HasPrefix(framing, "T") {
				c.send("4\r\nbody\r\n0\r\n\r\n")
			} else {
				c.send("some body")
			}
			if got := c.response(); got.status != 200 || got.close {
				t.Errorf("got %+v", got)
			}
			c.send(get("/"))
			if got := c.response(); got.body != "hello" {
				t.Errorf("got %+v", got)
			}
		})
	}
	for _, row := range []struct {
		path, framing string
		status        int
	}{
		{"/read", "Content-Length: 2000000", 413},
		{"/none", "Content-Length: 9", 404},
		{"/none", "Transfer-Encoding: chunked", 404},
		{"/read", "Content-Length: 9\r\nTransfer-Encoding: chunked", 400},
	} {
		t.Run(fmt.Sprint("refused, ", row.status), func(t *testing.T) {
			c := dial(t, s)
			c.send(expect(row.path, row.framing))
			if got := c.response(); got.status != row.status || !got.close {
				t.Fatalf("got %+v", got)
			}
			c.send(getHidden) // the server takes it for the body
			c.endSending()
			c.closed()
		})
	}
	t.Run("413 without expectation needs no byte of the body", func(t *testing.T) {
		c := dial(t, s)
		c.send("POST /read HTTP/1.1\r\nHost: test\r\nContent-Length: 2000000\r\n\r\n")
		if got := c.response(); got.status != 413 || !got.close {
			t.Fatalf("got %+v", got)
		}
	})
	t.Run("HTTP/1.0 is promised nothing", func(t *testing.T) {
		got := talk(t, s, "POST /read HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\nbody")
		if statuses(got) != "200" {
			t.Errorf("got %+v", got)
		}
	})
	if n := s.hidden.Load(); n != 0 {
		t.Errorf("a hidden request was run %d times", n)
	}
}

// TestRefusalIsRead sends a complete body before it reads, as the HTTP clients of Python
// and others do, to a server that has refused the request after its head.
func TestRefusalIsRead(t *testing.T) {
	t.Parallel()
	s := open(t, server.Options{})
	body := strings.Repeat("x", 8<<20)
	for i := range 20 {
		raw := post("/read", body)
		if i%2 == 1 {
			raw = postChunked("/read", strings.Repeat("y", 1<<20), body)
		}
		c := dial(t, s)
		if _, err := io.WriteString(c, raw); err != nil {
			t.Fatalf("send %d: %v", i, err)
		}
		if got := c.response(); got.status != 413 || !got.close {
			t.Fatalf("response %d: %+v", i, got)
		}
	}
}
