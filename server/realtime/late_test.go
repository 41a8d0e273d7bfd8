package realtime_test

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fasthttp/websocket"
	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/server"
	"github.com/galeserver/gale/server/realtime"
)

// heldListener accepts connections that nothing is read from while hold is set, as
// in a process that has no time.
type heldListener struct {
	net.Listener
	hold atomic.Bool
	free chan struct{} // closed when reading goes on
}

func (l *heldListener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return heldConn{nc.(*net.TCPConn), l}, nil
}

type heldConn struct {
	*net.TCPConn
	l *heldListener
}

func (c heldConn) Read(p []byte) (int, error) {
	if c.l.hold.Load() {
		<-c.l.free
	}
	return c.TCPConn.Read(p)
}

// A client whose pong has arrived is not disconnected, even if the process had no time
// to read it yet.
func TestPongIsNotReadYet(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	held := &heldListener{Listener: ln, free: make(chan struct{})}
	hub := realtime.New(realtime.Options{PingInterval: 50 * time.Millisecond, PongTimeout: 3 * time.Second})
	handler := &events{
		open:    func(*realtime.Conn) { held.hold.Store(true) }, // before its first message is read
		message: func(c *realtime.Conn, m realtime.Message) { _ = c.Send(context.Background(), m) },
	}
	srv, err := server.New(server.Options{}, []server.Route{{Method: "GET", Path: "/", Handler: func(ctx *fasthttp.RequestCtx) error {
		return hub.Upgrade(ctx, realtime.Upgrade{Handler: handler})
	}}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 2)
	go func() { done <- srv.Run(ctx, held) }()
	go func() { done <- hub.Run(ctx) }()
	release := sync.OnceFunc(func() { close(held.free) })
	t.Cleanup(func() {
		release()
		cancel()
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	})
	c := dial(t, &site{addr: ln.Addr().String()})
	pings := 0
	c.SetPingHandler(func(data string) error {
		if pings++; pings == 2 { // the time for the first pong is over
			release()
			if err := c.WriteMessage(websocket.TextMessage, []byte("hello")); err != nil {
				return err
			}
		}
		return c.WriteControl(websocket.PongMessage, []byte(data), time.Now().Add(patience))
	})
	wantText(t, c, "hello")
}
