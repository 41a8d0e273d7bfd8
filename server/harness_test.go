package server_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/server"
)

// patience is the time limit for events that a test waits for.
const patience = time.Minute

// site is a running server with the routes that the tests talk to.
type site struct {
	addr   string
	hidden atomic.Int64 // number of requests for /hidden that ran
	meter  meter
	bodies chan bodyRead // results of /read
	gate   chan struct{} // /wait responds after it receives from it
	inside chan struct{} // /wait sends to it at its start

	stop context.CancelFunc
	done chan error // result of Run
}

type bodyRead struct {
	data []byte
	err  error
	next error // error of one more Read
}

type meter struct {
	opened, closed atomic.Int64
	refused        [2]atomic.Int64 // by server.Limit
	mu             sync.Mutex
	requests       []string
}

func (m *meter) ConnOpened() { m.opened.Add(1) }
func (m *meter) ConnClosed() { m.closed.Add(1) }
func (m *meter) RequestDone(method string, status int, took time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.requests = append(m.requests, method+" "+strconv.Itoa(status))
}

func (m *meter) ConnRefused(over server.Limit) { m.refused[over].Add(1) }

func (m *meter) seen() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]string(nil), m.requests...)
}

// open starts a site, which ends with the test.
func open(t testing.TB, o server.Options, more ...server.Route) *site {
	t.Helper()
	s := newSite()
	o.Meter = &s.meter
	srv, err := server.New(o, append(s.routes(), more...))
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = ln.Addr().String()
	var ctx context.Context
	ctx, s.stop = context.WithCancel(context.Background())
	go func() { s.done <- srv.Run(ctx, ln) }()
	t.Cleanup(func() {
		s.stop()
		close(s.gate)
		select {
		case err, ok := <-s.done:
			if ok && err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(patience):
			t.Error("Run does not return")
		}
	})
	return s
}

func newSite() *site {
	return &site{
		bodies: make(chan bodyRead, 100),
		gate:   make(chan struct{}),
		inside: make(chan struct{}, 100),
		done:   make(chan error, 1),
	}
}

var errTeapot = errors.New("short and stout")

func (s *site) routes() []server.Route {
	text := textHandler
	hidden := func(ctx *fasthttp.RequestCtx) error {
		s.hidden.Add(1)
		return text("hidden")(ctx)
	}
	return []server.Route{
		{Method: "GET", Path: "/", Handler: text("hello")},
		{Method: "GET", Path: "/hidden", Handler: hidden},
		{Method: "POST", Path: "/hidden", Handler: hidden},
		{Method: "POST", Path: "/ignore", MaxBody: -1, Handler: text("ignored")},
		{Method: "POST", Path: "/limited", MaxBody: 1000, Handler: text("limited")},
		{Method: "POST", Path: "/part", MaxBody: -1, Handler: func(ctx *fasthttp.RequestCtx) error {
			if _, err := io.ReadFull(server.Body(ctx), make([]byte, 5)); err != nil {
				return err
			}
			return text("part")(ctx)
		}},
		{Method: "POST", Path: "/panic", MaxBody: -1, Handler: func(*fasthttp.RequestCtx) error { panic("at the disco") }},
		{Method: "POST", Path: "/fail", MaxBody: -1, Handler: func(*fasthttp.RequestCtx) error { return errTeapot }},
		{Method: "POST", Path: "/form", MaxBody: -1, Handler: readForm},
		{Method: "POST", Path: "/read", Handler: s.read},
		{Method: "PUT", Path: "/read", MaxBody: -1, Handler: s.read},
		{Method: "GET", Path: "/wait", Handler: func(ctx *fasthttp.RequestCtx) error {
			s.inside <- struct{}{}
			<-s.gate
			return text("waited")(ctx)
		}},
		{Method: "GET", Path: "/items/{name}/{rest:*}", Handler: func(ctx *fasthttp.RequestCtx) error {
			return text(server.Param(ctx, "name") + "|" + server.Param(ctx, "rest"))(ctx)
		}},
	}
}

func textHandler(words string) server.Handler {
	return func(ctx *fasthttp.RequestCtx) error {
		server.WriteText(ctx, 200, words)
		return nil
	}
}

func (s *site) read(ctx *fasthttp.RequestCtx) error {
	body := server.Body(ctx)
	var r bodyRead
	r.data, r.err = io.ReadAll(body)
	_, r.next = body.Read(make([]byte, 64))
	s.bodies <- r
	if r.err != nil {
		return r.err
	}
	server.WriteText(ctx, 200, strconv.Itoa(len(r.data)))
	return nil
}

// readForm stops at the last boundary, as a multipart reader does.
func readForm(ctx *fasthttp.RequestCtx) error {
	form := multipart.NewReader(server.Body(ctx), string(ctx.Request.Header.MultipartFormBoundary()))
	for n := 0; ; n++ {
		part, err := form.NextRawPart()
		if err == io.EOF {
			server.WriteText(ctx, 200, strconv.Itoa(n))
			return nil
		}
		if err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, part); err != nil {
			return err
		}
	}
}

// response is the response to one request.
type response struct {
	status int
	header http.Header
	body   string
	close  bool // the server said Connection: close
}

// talk sends raw and ends the sending side, and returns all responses.
func talk(t testing.TB, s *site, raw string) []response {
	t.Helper()
	c := dial(t, s)
	c.send(raw)
	c.endSending()
	return c.responsesToEnd()
}

// client is a connection on which the test sends and reads raw bytes.
type client struct {
	testing.TB
	net.Conn
	in *bufio.Reader
}

func dial(t testing.TB, s *site) *client {
	t.Helper()
	nc, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	if err := nc.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return &client{TB: t, Conn: nc, in: newReader(nc)}
}

func newReader(nc net.Conn) *bufio.Reader { return bufio.NewReader(nc) }

func (c *client) send(raw string) {
	c.Helper()
	if _, err := io.WriteString(c.Conn, raw); err != nil {
		c.Logf("send: %v", err) // the server may have responded and closed already
	}
}

func (c *client) endSending() {
	_ = c.Conn.(*net.TCPConn).CloseWrite()
}

// response reads the response to a GET or POST. Without one the test fails.
func (c *client) response() response {
	c.Helper()
	a, err := c.nextResponse()
	if err != nil {
		c.Fatalf("read response: %v", err)
	}
	return a
}

func (c *client) nextResponse() (response, error) {
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return response{}, err
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return response{}, err
	}
	return response{resp.StatusCode, resp.Header, string(body), resp.Close}, nil
}

func (c *client) responsesToEnd() []response {
	c.Helper()
	var all []response
	for {
		a, err := c.nextResponse()
		if err == io.EOF || err == io.ErrUnexpectedEOF && c.in.Buffered() == 0 {
			return all
		}
		if err != nil {
			c.Fatalf("after %d responses: %v", len(all), err)
		}
		all = append(all, a)
	}
}

// closed waits until the server has closed the connection.
func (c *client) closed() {
	c.Helper()
	if n, err := io.Copy(io.Discard, c.in); err != nil || n > 0 {
		c.Fatalf("want the end of the connection, got %d bytes and %v", n, err)
	}
}

func statuses(all []response) string {
	var words []string
	for _, a := range all {
		words = append(words, strconv.Itoa(a.status))
	}
	return strings.Join(words, " ")
}

// post is a request with a body of known length.
func post(path, body string) string {
	return "POST " + path + " HTTP/1.1\r\nHost: test\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body
}

// postChunked is a request with a chunked body.
func postChunked(path string, chunks ...string) string {
	var b bytes.Buffer
	b.WriteString("POST " + path + " HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n")
	for _, chunk := range chunks {
		b.WriteString(strconv.FormatInt(int64(len(chunk)), 16) + "\r\n" + chunk + "\r\n")
	}
	return b.String() + "0\r\n\r\n"
}

const getHidden = "GET /hidden HTTP/1.1\r\nHost: test\r\n\r\n"

func get(path string) string { return "GET " + path + " HTTP/1.1\r\nHost: test\r\n\r\n" }

// headResponse reads the response to a HEAD, which has a length but no body.
func (c *client) headResponse() response {
	c.Helper()
	resp, err := http.ReadResponse(c.in, &http.Request{Method: http.MethodHead})
	if err != nil {
		c.Fatalf("read response: %v", err)
	}
	if resp.ContentLength <= 0 {
		c.Errorf("content length %d", resp.ContentLength)
	}
	return response{resp.StatusCode, resp.Header, "", resp.Close}
}
