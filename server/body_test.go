package server_test

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/galeserver/gale/server"

	"github.com/valyala/fasthttp"
)

// TestBodyEnds checks the error at the end of a body, and that a second Read returns it
// again.
func TestBodyEnds(t *testing.T) {
	t.Parallel()
	s, hurried := open(t, server.Options{}), open(t, server.Options{ReadTimeout: time.Second})
	const (
		sized   = "POST /read HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\n"
		chunked = "POST /read HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n"
	)
	for _, row := range []struct {
		name, raw, data string
		err             error
		status          string
	}{
		{"whole", sized + "0123456789", "0123456789", nil, "200"},
		{"cut off", sized + "01234", "01234", server.ErrBodyTruncated, "400"},
		{"chunked, whole", chunked + "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", "abcde", nil, "200"},
		{"chunked, empty", chunked + "0\r\n\r\n", "", nil, "200"},
		{"chunked, leading zeros", chunked + "0003\r\nabc\r\n000\r\n\r\n", "abc", nil, "200"},
		{"chunked, trailers", chunked + "3\r\nabc\r\n0\r\nX: y\r\nZ:\r\n\r\n", "abc", nil, "200"},
		{"cut off in a chunk", chunked + "5\r\nabc", "abc", server.ErrBodyTruncated, "400"},
		{"cut off after a chunk's content", chunked + "3\r\nabc", "abc", server.ErrBodyTruncated, "400"},
		{"cut off between chunks", chunked + "3\r\nabc\r\n", "abc", server.ErrBodyTruncated, "400"},
		{"cut off in a size", chunked + "3\r\nabc\r\n1", "abc", server.ErrBodyTruncated, "400"},
		{"cut off in an extension", chunked + "3;x", "", server.ErrBodyTruncated, "400"},
		{"cut off in the last chunk", chunked + "3\r\nabc\r\n0\r\n", "abc", server.ErrBodyTruncated, "400"},
		{"cut off in the trailers", chunked + "3\r\nabc\r\n0\r\nX: y\r\n", "abc", server.ErrBodyTruncated, "400"},
		{"no size", chunked + "\r\nabc\r\n0\r\n\r\n", "", server.ErrBodyMalformed, "400"},
		{"size is not hexadecimal", chunked + "3\r\nabc\r\ng\r\n", "abc", server.ErrBodyMalformed, "400"},
		{"size with a sign", chunked + "+3\r\nabc\r\n", "", server.ErrBodyMalformed, "400"},
		{"size with 0x", chunked + "0x3\r\nabc\r\n", "", server.ErrBodyMalformed, "400"},
		{"size of 16 digits", chunked + "1000000000000003\r\nabc\r\n", "", server.ErrBodyMalformed, "400"},
		{"size with a bare LF", chunked + "3\nabc\r\n0\r\n\r\n", "", server.ErrBodyMalformed, "400"},
		{"size with a bare CR", chunked + "3\rabc\r\n0\r\n\r\n", "", server.ErrBodyMalformed, "400"},
		{"content longer than its size", chunked + "3\r\nabcd\r\n0\r\n\r\n", "abc", server.ErrBodyMalformed, "400"},
		{"content shorter than its size", chunked + "3\r\nab\r\n0\r\n\r\n", "ab\r", server.ErrBodyMalformed, "400"},
		{"control in an extension", chunked + "3;\x00\r\nabc\r\n", "", server.ErrBodyMalformed, "400"},
		{"trailer without a colon", chunked + "0\r\nX\r\n\r\n", "", server.ErrBodyMalformed, "400"},
		{"trailer with a space in its name", chunked + "0\r\nX Y: z\r\n\r\n", "", server.ErrBodyMalformed, "400"},
		{"folded trailer", chunked + "0\r\nX: y\r\n z\r\n\r\n", "", server.ErrBodyMalformed, "400"},
		{"trailers without end", chunked + "0\r\n" + strings.Repeat("X: y\r\n", 5000), "", server.ErrBodyMalformed, "400"},
		{"extensions without end", chunked + "1;" + strings.Repeat("x", 20000), "", server.ErrBodyMalformed, "400"},
		{"chunked, over the limit", chunked + "fffffff\r\n", "", server.ErrBodyTooLarge, "413"},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := statuses(talk(t, s, row.raw)); got != row.status {
				t.Errorf("got %q, want %q", got, row.status)
			}
			checkBody(t, <-s.bodies, row.data, row.err)
		})
	}
	t.Run("chunked, just within the limit", func(t *testing.T) {
		whole := strings.Repeat("x", 1<<20)
		if got := talk(t, s, postChunked("/read", whole[1:], "x")); statuses(got) != "200" {
			t.Errorf("got %q", statuses(got))
		}
		checkBody(t, <-s.bodies, whole, nil)
	})
	for name, raw := range map[string]string{"stalled": sized + "01234", "stalled, chunked": chunked + "9\r\n01234"} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, hurried)
			c.send(raw)
			if got := c.response(); got.status != 408 || !got.close {
				t.Errorf("got %+v", got)
			}
			checkBody(t, <-hurried.bodies, "01234", server.ErrBodyTimeout)
		})
	}
}

func checkBody(t *testing.T, got bodyRead, data string, err error) {
	t.Helper()
	if string(got.data) != data || !errors.Is(got.err, err) {
		t.Errorf("handler read %q, %v; want %q, %v", got.data, got.err, data, err)
	}
	if err == nil {
		err = io.EOF
	}
	if got.next != err {
		t.Errorf("and then %v, want %v", got.next, err)
	}
}

// A body that arrives slowly but steadily may take longer than ReadTimeout.
func TestBodyHasNoDeadlineAsAWhole(t *testing.T) {
	t.Parallel()
	const timeout = 2 * time.Second
	s := open(t, server.Options{ReadTimeout: timeout})
	c := dial(t, s)
	begin := time.Now()
	c.send("POST /read HTTP/1.1\r\nHost: test\r\nContent-Length: 25\r\n\r\n")
	tick := time.NewTicker(timeout / 10)
	defer tick.Stop()
	for range 25 {
		<-tick.C
		c.send("x")
	}
	if got := c.response(); got.status != 200 || time.Since(begin) < 2*timeout {
		t.Errorf("after %v: %+v", time.Since(begin), got)
	}
}

// Trailers must not become fields of the head.
func TestTrailersAreDropped(t *testing.T) {
	t.Parallel()
	seen := make(chan string, 1)
	s := open(t, server.Options{}, server.Route{Method: "POST", Path: "/trailer", Handler: func(ctx *fasthttp.RequestCtx) error {
		if _, err := server.ReadAll(ctx); err != nil {
			return err
		}
		seen <- string(ctx.Request.Header.Peek("X-Scheme")) + "/" + string(ctx.Request.Header.Peek("Transfer-Encoding"))
		return nil
	}})
	talk(t, s, strings.Replace(postChunked("/trailer", "abc"), "0\r\n", "0\r\nX-Scheme: https\r\n", 1))
	if got := <-seen; got != "/chunked" {
		t.Errorf("got %q", got)
	}
}

func TestReadAll(t *testing.T) {
	t.Parallel()
	length := func(ctx *fasthttp.RequestCtx) error {
		data, err := server.ReadAll(ctx)
		if err != nil {
			return err
		}
		return server.WriteJSON(ctx, 200, len(data))
	}
	s := open(t, server.Options{MaxBody: 100},
		server.Route{Method: "POST", Path: "/default", Handler: length},
		server.Route{Method: "POST", Path: "/more", MaxBody: 200, Handler: length},
		server.Route{Method: "POST", Path: "/any", MaxBody: -1, Handler: length})
	for _, row := range []struct {
		path       string
		size, want int
	}{
		{"/default", 0, 200}, {"/default", 100, 200}, {"/default", 101, 413},
		{"/more", 200, 200}, {"/more", 201, 413},
		{"/any", 100, 200}, {"/any", 101, 413},
	} {
		for _, raw := range []string{post(row.path, strings.Repeat("x", row.size)), postChunked(row.path, strings.Repeat("x", row.size))} {
			if row.size == 0 {
				raw = post(row.path, "")
			}
			got := talk(t, s, raw)
			if len(got) != 1 || got[0].status != row.want {
				t.Errorf("%s with %d bytes: %+v", row.path, row.size, got)
			}
		}
	}
}

// A goroutine of a handler that has returned must not read the next request.
func TestBodyEndsWithItsHandler(t *testing.T) {
	t.Parallel()
	var body io.Reader
	ended := make(chan error, 1)
	s := open(t, server.Options{},
		server.Route{Method: "POST", Path: "/keep", Handler: func(ctx *fasthttp.RequestCtx) error {
			body = server.Body(ctx)
			return nil
		}},
		server.Route{Method: "POST", Path: "/leak", Handler: func(ctx *fasthttp.RequestCtx) error {
			reading := server.Body(ctx)
			begun := make(chan struct{})
			go func() {
				_, _ = io.ReadFull(reading, make([]byte, 5))
				close(begun)
				_, err := reading.Read(make([]byte, 5))
				ended <- err
			}()
			<-begun
			return nil
		}})

	t.Run("later", func(t *testing.T) {
		c := dial(t, s)
		c.send(post("/keep", "abc"))
		c.response()
		if _, err := body.Read(make([]byte, 1)); err != server.ErrBodyClosed {
			t.Errorf("got %v", err)
		}
		c.send(get("/"))
		if got := c.response(); got.body != "hello" {
			t.Errorf("got %+v", got)
		}
	})
	t.Run("meanwhile", func(t *testing.T) {
		c := dial(t, s)
		c.send("POST /leak HTTP/1.1\r\nHost: test\r\nContent-Length: 100\r\n\r\n01234")
		if got := c.response(); got.status != 200 || !got.close {
			t.Errorf("got %+v", got)
		}
		if err := <-ended; err == nil || err == io.EOF {
			t.Errorf("the goroutine got %v", err)
		}
	})
}
