package realtime_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fasthttp/websocket"
	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/server"
	"github.com/galeserver/gale/server/realtime"
)

func wantParked(t testing.TB, s *site, n int) {
	t.Helper()
	testutil.Eventually(t, fmt.Sprintf("%d connections are parked", n), func() bool { return s.hub.Parked() == n })
}

// wantFrame reads a frame of the server.
func (c *raw) wantFrame(want string) {
	c.Helper()
	if first, payload, err := c.next(); err != nil || received(first, payload) != want {
		c.Fatalf("got %.80q, %v; want %.80q", received(first, payload), err, want)
	}
}

func (c *raw) send(parts ...[]byte) {
	c.Helper()
	if _, err := c.Write(slices.Concat(parts...)); err != nil {
		c.Fatal(err)
	}
}

// The bytes of a client are interrupted at every position. At each one the connection is
// parked if it is between two messages, and keeps its goroutine otherwise.
func TestParkedFramesSplit(t *testing.T) {
	t.Parallel()
	s := open(t, realtime.Options{}, echoes)
	s.hub.ParkAtOnce()
	long := strings.Repeat("long", 50) // more than 125 bytes, so the header has two more
	sent := [][]byte{
		frame(pong, "unsolicited"), frame(text, ""), frame(ping, "first"), frame(textBegin, "hel"), frame(ping, ""),
		frame(moreEnd, "lo"), frame(bin, long),
	}
	want := []string{
		received(text, ""), received(pong, "first"), received(pong, ""), received(text, "hello"), received(bin, long),
	}
	all := slices.Concat(sent...)
	between := map[int]bool{len(all): true} // positions at which no message is incomplete
	for at, i := 0, 0; i < len(sent); i++ {
		if i != 4 && i != 5 { // between the fragments
			between[at] = true
		}
		at += len(sent[i])
	}
	c := dialRaw(t, s, "")
	for at := 1; at <= len(all); at++ {
		wantParked(t, s, 1)
		c.send(all[:at])
		if !between[at] {
			wantParked(t, s, 0)
		}
		c.send(all[at:])
		for _, frame := range want {
			c.wantFrame(frame)
		}
	}
	wantParked(t, s, 1)
	c.send(frame(closing, closeWith(1000, "")))
	c.wantFrame(received(closing, closeWith(1000, "")))
	testutil.Eventually(t, "the connection has ended", func() bool { return s.hub.Len() == 0 && s.hub.Parked() == 0 })
}

// A connection is not parked while bytes that were received are unread, no matter which
// buffer holds them.
func TestUnreadBytesAreNotParked(t *testing.T) {
	t.Parallel()
	s := open(t, realtime.Options{MessageRate: 1 << 20}, echoes)
	t.Run("sent with the handshake", func(t *testing.T) {
		nc, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		_ = nc.SetDeadline(time.Now().Add(patience))
		head := upgradeHead + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
		if _, err := io.WriteString(nc, head+string(frame(ping, ""))+string(frame(text, "early"))); err != nil {
			t.Fatal(err)
		}
		var got []byte
		piece := make([]byte, 1024)
		for want := "\x8a\x00\x81\x05early"; !strings.HasSuffix(string(got), want); {
			n, err := nc.Read(piece)
			if got = append(got, piece[:n]...); err != nil {
				t.Fatalf("got %q, %v", got, err)
			}
		}
	})
	for _, n := range []int{2, 3000} { // many frames are longer than a read buffer
		t.Run(fmt.Sprintf("%d messages at once", n), func(t *testing.T) {
			c := dialRaw(t, s, "")
			var parts [][]byte
			for i := range n {
				parts = append(parts, frame(text, fmt.Sprint(i)))
			}
			go func() { _, _ = c.Write(slices.Concat(parts...)) }() // ends when the server has read everything
			for i := range n {
				c.wantFrame(received(text, fmt.Sprint(i)))
			}
		})
	}
}

// A connection that had a message keeps its goroutine for a while. Afterwards it is parked, and
// a frame that began during that time may take longer.
func TestStaysAfterMessage(t *testing.T) {
	t.Parallel()
	s := open(t, realtime.Options{}, echoes)
	c := dialRaw(t, s, "")
	for range 2 {
		wantParked(t, s, 1)
		c.wantEcho()
		half := frame(text, "slow")
		c.send(half[:4])
		began := time.Now()
		testutil.Eventually(t, "the pause is over", func() bool { return time.Since(began) > 1500*time.Millisecond })
		if s.hub.Parked() != 0 {
			t.Error("parked inside a frame")
		}
		c.send(half[4:])
		c.wantFrame(received(text, "slow"))
	}
	wantParked(t, s, 1)
}

// All parked connections are served if they are woken at the same time, although only few
// may begin at a time.
func TestManyWake(t *testing.T) {
	t.Parallel()
	s := open(t, realtime.Options{Readers: 4}, echoes)
	clients := make([]*raw, 1000)
	for i := range clients {
		clients[i] = dialRaw(t, s, "")
	}
	wantParked(t, s, len(clients))
	for i, c := range clients {
		c.send(frame(text, fmt.Sprint(i)))
	}
	for i, c := range clients {
		c.wantFrame(received(text, fmt.Sprint(i)))
	}
	wantParked(t, s, len(clients))
}

// Handlers that block, and clients that send only a part of a frame, delay no other client,
// even if there are more of them than Options.Readers.
func TestBlockedConnectionsDelayNoOther(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	s := open(t, realtime.Options{Readers: 1}, func() realtime.Handler {
		return &events{message: func(c *realtime.Conn, m realtime.Message) {
			if string(m.Data) == "block" {
				<-release
			}
			_ = c.Send(context.Background(), m)
		}}
	})
	for _, first := range [][]byte{frame(text, "block"), frame(text, "block"), frame(text, "half")[:5], frame(ping, "half")[:3], frame(ping, "half")[:1]} {
		c := dialRaw(t, s, "")
		wantParked(t, s, 1)
		c.send(first)
		wantParked(t, s, 0)
	}
	dialRaw(t, s, "").wantEcho()
	close(release)
}

func (c *raw) wantEcho() {
	c.Helper()
	c.send(frame(text, "hello"))
	c.wantFrame(received(text, "hello"))
}

// Idle connections have no goroutine. This test does not run in parallel.
func TestIdleWithoutGoroutine(t *testing.T) {
	s := open(t, realtime.Options{}, echoes)
	dialRaw(t, s, "").wantEcho()
	before := runtime.NumGoroutine()
	const idle = 500
	for range idle {
		dialRaw(t, s, "").wantEcho()
	}
	wantParked(t, s, idle+1)
	testutil.Eventually(t, "few goroutines", func() bool { return runtime.NumGoroutine() < before+idle/10 })
}

// A connection that was accepted before Hub.Run works, and parks later.
func TestConnectionBeforeRun(t *testing.T) {
	t.Parallel()
	s := &site{hub: realtime.New(realtime.Options{})}
	s.hub.ParkAtOnce()
	srv, err := server.New(server.Options{}, []server.Route{{Method: "GET", Path: "/", Handler: func(ctx *fasthttp.RequestCtx) error {
		return s.hub.Upgrade(ctx, realtime.Upgrade{Handler: echoes()})
	}}})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = ln.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 2)
	go func() { done <- srv.Run(ctx, ln) }()
	c := dialRaw(t, s, "")
	c.wantEcho()
	c.wantEcho()
	go func() { done <- s.hub.Run(ctx) }()
	testutil.Eventually(t, "the connection is parked", func() bool {
		c.wantEcho()
		return s.hub.Parked() == 1
	})
	cancel()
	c.wantFrame(received(closing, closeWith(websocket.CloseServiceRestart, "the server restarts, connect again")))
	c.Close()
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// Each new connection gets the file descriptor of one that was parked when it was aborted. It
// gets only events of its own.
func TestDescriptorReused(t *testing.T) {
	t.Parallel()
	conns := make(chan *realtime.Conn, 1)
	codes := make(chan int, 1)
	s := open(t, realtime.Options{PingInterval: time.Hour}, func() realtime.Handler {
		e := echoes().(*events)
		e.open = func(c *realtime.Conn) { conns <- c }
		e.closed = func(code int, _ string) { codes <- code }
		return e
	})
	for range 50 {
		c := dialRaw(t, s, "")
		wantParked(t, s, 1)
		(<-conns).Abort()
		if code := <-codes; code != websocket.CloseAbnormalClosure {
			t.Errorf("closed with %d", code)
		}
		if s.hub.Parked() != 0 {
			t.Error("an aborted connection is parked")
		}
		c.Close()
	}
	dialRaw(t, s, "").wantEcho()
}
