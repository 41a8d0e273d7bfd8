package realtime_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/fasthttp/websocket"
	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/server"
	"github.com/galeserver/gale/server/realtime"
	"github.com/galeserver/gale/server/upgrade"
)

// patience is the time limit for every wait in a test.
const patience = time.Minute

// site is a server with a WebSocket at /.
type site struct {
	addr string
	hub  *realtime.Hub
	stop context.CancelFunc // ends the context of Hub.Run
	done chan error         // result of Hub.Run
}

func open(t testing.TB, o realtime.Options, handler func() realtime.Handler, more ...func(*realtime.Hub) server.Route) *site {
	t.Helper()
	s := &site{hub: realtime.New(o), done: make(chan error, 1)}
	routes := []server.Route{{Method: "GET", Path: "/", Handler: func(ctx *fasthttp.RequestCtx) error {
		return s.hub.Upgrade(ctx, realtime.Upgrade{Handler: handler(), Protocols: []string{"b", "a"}})
	}}}
	for _, route := range more {
		routes = append(routes, route(s.hub))
	}
	srv, err := server.New(server.Options{Grace: time.Second, Errors: []server.ErrorStatus{{Err: upgrade.ErrLeaving, Status: 503}}}, routes)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = ln.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	var hubCtx context.Context
	hubCtx, s.stop = context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() { served <- srv.Run(ctx, ln) }()
	go func() { s.done <- s.hub.Run(hubCtx) }()
	testutil.Eventually(t, "Hub.Run runs", s.hub.Running)
	t.Cleanup(func() {
		s.stop()
		select {
		case <-s.done:
		case <-time.After(patience):
			t.Error("Hub.Run does not return")
		}
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return s
}

// ended waits until Hub.Run returns. It leaves the result in s.done for the cleanup.
func (s *site) ended(t testing.TB) {
	t.Helper()
	select {
	case err := <-s.done:
		s.done <- err
	case <-time.After(patience):
		t.Fatal("Hub.Run does not return")
	}
}

func dial(t testing.TB, s *site) *websocket.Conn {
	t.Helper()
	c, _, err := websocket.DefaultDialer.Dial("ws://"+s.addr+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return c
}

func wantText(t testing.TB, c *websocket.Conn, want string) {
	t.Helper()
	if _, got, err := c.ReadMessage(); err != nil || string(got) != want {
		t.Fatalf("got %q, %v; want %q", got, err, want)
	}
}

func wantClose(t testing.TB, c *websocket.Conn, code int) {
	t.Helper()
	if _, got, err := c.ReadMessage(); !websocket.IsCloseError(err, code) {
		t.Fatalf("got %q, %v; want close %d", got, err, code)
	}
}

// events is a Handler that calls its functions, unless they are nil.
type events struct {
	open    func(*realtime.Conn)
	message func(*realtime.Conn, realtime.Message)
	closed  func(code int, reason string)
}

func (e *events) Open(c *realtime.Conn) {
	if e.open != nil {
		e.open(c)
	}
}

func (e *events) Message(c *realtime.Conn, m realtime.Message) {
	if e.message != nil {
		e.message(c, m)
	}
}

func (e *events) Closed(_ *realtime.Conn, code int, reason string) {
	if e.closed != nil {
		e.closed(code, reason)
	}
}

// echoes returns a handler that sends each message back.
func echoes() realtime.Handler {
	return &events{message: func(c *realtime.Conn, m realtime.Message) { _ = c.Send(context.Background(), m) }}
}

// raw is a client without a WebSocket library, so that a test can send any bytes.
type raw struct {
	testing.TB
	net.Conn
	in *bufio.Reader
}

const upgradeHead = "GET / HTTP/1.1\r\nHost: test\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\n"

func dialRaw(t testing.TB, s *site, fields string) *raw {
	t.Helper()
	nc, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(patience))
	c := &raw{t, nc, bufio.NewReader(nc)}
	if _, err := io.WriteString(nc, upgradeHead+"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"+fields+"\r\n"); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols || resp.Header.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		t.Fatalf("handshake: %+v, %v", resp, err)
	}
	return c
}

// frame returns a frame as a client sends it, masked.
func frame(first byte, payload string) []byte {
	mask := [4]byte{0xff, 0, 0xff, 0}
	out := header(first, len(payload))
	out[1] |= 0x80
	out = append(out, mask[:]...)
	for i := range len(payload) {
		out = append(out, payload[i]^mask[i%4])
	}
	return out
}

func header(first byte, length int) []byte {
	switch {
	case length < 126:
		return []byte{first, byte(length)}
	case length < 1<<16:
		return binary.BigEndian.AppendUint16([]byte{first, 126}, uint16(length))
	}
	return binary.BigEndian.AppendUint64([]byte{first, 127}, uint64(length))
}

// next reads a frame of the server. Such frames are not masked, and in these tests not
// fragmented.
func (c *raw) next() (first byte, payload string, err error) {
	var head [2]byte
	if _, err := io.ReadFull(c.in, head[:]); err != nil {
		return 0, "", err
	}
	length := uint64(head[1])
	switch head[1] {
	case 126:
		var more [2]byte
		_, err = io.ReadFull(c.in, more[:])
		length = uint64(binary.BigEndian.Uint16(more[:]))
	case 127:
		var more [8]byte
		_, err = io.ReadFull(c.in, more[:])
		length = binary.BigEndian.Uint64(more[:])
	}
	if err != nil {
		return 0, "", err
	}
	data := make([]byte, length)
	_, err = io.ReadFull(c.in, data)
	return head[0], string(data), err
}
