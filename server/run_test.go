package server_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/server"
)

func (s *site) end(t *testing.T) error {
	t.Helper()
	select {
	case err := <-s.done:
		close(s.done)
		return err
	case <-time.After(patience):
		t.Fatal("Run does not return")
		return nil
	}
}

func TestDrainFinishesRequestsInFlight(t *testing.T) {
	t.Parallel()
	s := open(t, server.Options{})
	waiting, uploading, resting := dial(t, s), dial(t, s), dial(t, s)
	waiting.send(get("/wait"))
	<-s.inside
	uploading.send("POST /read HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\n01234")
	resting.send(get("/"))
	resting.response()
	testutil.Eventually(t, "three connections", func() bool { return s.meter.opened.Load() == 3 })

	s.stop()
	testutil.Eventually(t, "connections are refused", func() bool {
		c, err := net.Dial("tcp", s.addr)
		if err == nil {
			c.Close()
		}
		return errors.Is(err, syscall.ECONNREFUSED)
	})
	resting.closed()
	uploading.send("56789")
	if got := uploading.response(); got.body != "10" || !got.close {
		t.Errorf("upload: %+v", got)
	}
	select {
	case err := <-s.done:
		t.Fatalf("Run returned with a request in flight: %v", err)
	default:
	}
	s.gate <- struct{}{}
	if got := waiting.response(); got.body != "waited" || !got.close {
		t.Errorf("wait: %+v", got)
	}
	waiting.Close()
	uploading.Close()
	if err := s.end(t); err != nil {
		t.Error(err)
	}
	if o, c := s.meter.opened.Load(), s.meter.closed.Load(); o != c {
		t.Errorf("%d connections opened, %d closed", o, c)
	}
}

func TestDrainServesRequestsInTransit(t *testing.T) {
	t.Parallel()
	s := open(t, server.Options{})
	resting, new, partial := dial(t, s), dial(t, s), dial(t, s)
	resting.send(get("/"))
	resting.response()
	partial.send("GET / HT")
	testutil.Eventually(t, "three connections", func() bool { return s.meter.opened.Load() == 3 })
	s.stop()
	testutil.Eventually(t, "connections are refused", func() bool {
		_, err := net.Dial("tcp", s.addr)
		return err != nil
	})
	for name, c := range map[string]*client{"resting": resting, "new": new} {
		c.send(get("/"))
		if got := c.response(); got.body != "hello" || !got.close {
			t.Errorf("%s: %+v", name, got)
		}
		c.Close()
	}
	partial.send("TP/1.1\r\nHost: test\r\n\r\n")
	if got := partial.response(); got.body != "hello" || !got.close {
		t.Errorf("partial: %+v", got)
	}
	partial.Close()
	if err := s.end(t); err != nil {
		t.Error(err)
	}
}

func TestDrainGraceRunsOut(t *testing.T) {
	t.Parallel()
	s := open(t, server.Options{Grace: time.Second})
	one, two, resting := dial(t, s), dial(t, s), dial(t, s)
	one.send(get("/wait"))
	two.send(get("/wait"))
	<-s.inside
	<-s.inside
	resting.send(get("/"))
	resting.response()
	s.stop()
	err := s.end(t)
	if !errors.Is(err, server.ErrGrace) || !strings.Contains(err.Error(), "2 requests") {
		t.Errorf("Run: %v", err)
	}
	one.closed()
}

func TestDrainIdleClientIsNotCutOff(t *testing.T) {
	t.Parallel()
	s := open(t, server.Options{Grace: patience / 2})
	c := dial(t, s)
	c.send(get("/"))
	c.response()
	s.stop()
	if err := s.end(t); err != nil {
		t.Error(err)
	}
}

func TestRunOnce(t *testing.T) {
	t.Parallel()
	srv, err := server.New(server.Options{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for i := range 2 {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		if err := srv.Run(ctx, ln); (err == nil) != (i == 0) {
			t.Errorf("run %d: %v", i, err)
		}
	}
}

// faultyListener fails like accept without free file descriptors, and then permanently.
type faultyListener struct {
	net.Listener
	faults chan error
}

func (l *faultyListener) Accept() (net.Conn, error) {
	select {
	case err := <-l.faults:
		return nil, err
	default:
		return l.Listener.Accept()
	}
}

func TestAcceptFails(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	faulty := &faultyListener{ln, make(chan error, 10)}
	for range 3 {
		faulty.faults <- &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
	}
	s := newSite()
	srv, err := server.New(server.Options{}, s.routes())
	if err != nil {
		t.Fatal(err)
	}
	s.addr = ln.Addr().String()
	go func() { s.done <- srv.Run(t.Context(), faulty) }()

	c := dial(t, s)
	c.send(get("/"))
	if got := c.response(); got.body != "hello" {
		t.Errorf("got %+v", got)
	}
	faulty.faults <- errors.New("broken")
	c2 := dial(t, s) // wakes Accept once more
	c2.Close()
	c.Close()
	if err := s.end(t); err == nil || !strings.Contains(err.Error(), "broken") {
		t.Errorf("Run: %v", err)
	}
}

// short is a timeout that a test waits for.
const short = 200 * time.Millisecond

func TestTimeoutNothingSent(t *testing.T) {
	t.Parallel()
	s := open(t, server.Options{IdleTimeout: short})
	dial(t, s).closed() // without a 408: the client sent no request
}

func TestTimeoutNothingMoreSent(t *testing.T) {
	t.Parallel()
	s := open(t, server.Options{IdleTimeout: 10 * short}) // the request is there by then
	c := dial(t, s)
	c.send(get("/"))
	c.response()
	c.closed()
}

func TestTimeoutHeadByteByByte(t *testing.T) {
	t.Parallel()
	s := open(t, server.Options{ReadTimeout: short})
	c := dial(t, s)
	go func() {
		tick := time.NewTicker(short / 10)
		defer tick.Stop()
		for range tick.C { // ends when the connection does
			if _, err := io.WriteString(c, "G"); err != nil {
				return
			}
		}
	}()
	if got := c.response(); got.status != 408 || !got.close {
		t.Errorf("got %+v", got)
	}
	c.Close()
}

func TestTimeoutResponseNotRead(t *testing.T) {
	t.Parallel()
	s := open(t, server.Options{WriteTimeout: short}, bigRoute(64<<20))
	c := dial(t, s)
	c.send(get("/big"))
	testutil.Eventually(t, "the connection is closed", func() bool { return s.meter.closed.Load() == 1 })
}

func TestTimeoutResponseReadSlowly(t *testing.T) {
	t.Parallel()
	const timeout, rate, size = 2 * time.Second, 256 << 10, 64 << 20
	s := open(t, server.Options{WriteTimeout: timeout}, bigRoute(size))
	c := dial(t, s)
	c.send(get("/big"))
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(timeout / 40)
	defer tick.Stop()
	begin := time.Now()
	for time.Since(begin) < 3*timeout {
		<-tick.C
		if _, err := io.ReadFull(resp.Body, make([]byte, rate)); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := io.Copy(io.Discard, resp.Body); err != nil || n < size/4 {
		t.Errorf("the rest: %d bytes, %v", n, err)
	}
}

func TestDrainingBodyEnds(t *testing.T) {
	t.Parallel()
	s := open(t, server.Options{})
	c := dial(t, s)
	c.send("POST /ignore HTTP/1.1\r\nHost: test\r\nContent-Length: 1000\r\n\r\nx")
	if got := c.response(); got.status != 200 || !got.close {
		t.Errorf("got %+v", got)
	}
}

func TestLingeringEnds(t *testing.T) {
	t.Parallel()
	s := open(t, server.Options{})
	c := dial(t, s)
	c.send("POST /read HTTP/1.1\r\nHost: test\r\nContent-Length: 2000000\r\n\r\n")
	c.response()
	c.closed() // from the server's side, while ours stays open
	testutil.Eventually(t, "the connection is closed", func() bool { return s.meter.closed.Load() == 1 })
}

func bigRoute(size int) server.Route {
	text := strings.Repeat("x", size)
	return server.Route{Method: "GET", Path: "/big", Handler: textHandler(text)}
}

// A hijacked connection has its owner's deadlines, and Run does not wait for it.
func TestHijacked(t *testing.T) {
	t.Parallel()
	const short = time.Second // the requests are there by then
	s := open(t, server.Options{IdleTimeout: short, ReadTimeout: short, WriteTimeout: short},
		server.Route{Method: "GET", Path: "/echo", Handler: func(ctx *fasthttp.RequestCtx) error {
			ctx.Hijack(func(c net.Conn) { _, _ = io.Copy(c, c) })
			return nil
		}},
		server.Route{Method: "GET", Path: "/sorry", Handler: func(ctx *fasthttp.RequestCtx) error {
			ctx.Hijack(func(c net.Conn) { _, _ = io.Copy(c, c) })
			return server.Fail(403, "changed my mind")
		}})
	c := dial(t, s)
	c.send(get("/echo"))
	c.response()
	for range 2 {
		<-time.After(2 * short)
		c.send("still there\n")
		if got, err := c.in.ReadString('\n'); err != nil || got != "still there\n" {
			t.Errorf("got %q, %v", got, err)
		}
	}
	if got := talk(t, s, get("/sorry")+get("/")); statuses(got) != "403 200" {
		t.Errorf("after an error: %q", statuses(got))
	}
	s.stop()
	if err := s.end(t); err != nil {
		t.Error(err)
	}
	c.send("and still\n")
	if got, err := c.in.ReadString('\n'); err != nil || got != "and still\n" {
		t.Errorf("after Run: %q, %v", got, err)
	}
}
