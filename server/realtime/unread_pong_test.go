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

// pausedListener accepts connections whose Read blocks after hold is set, as in a process
// that is too busy to read.
type pausedListener struct {
	net.Listener
	hold atomic.Bool
	free chan struct{} // closed when Read may continue
}

func (l *pausedListener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return pausedConn{nc.(*net.TCPConn), l}, nil
}

type pausedConn struct {
	*net.TCPConn
	l *pausedListener
}

func (c pausedConn) Read(p []byte) (int, error) {
	if c.l.hold.Load() {
		<-c.l.free
	}
	return c.TCPConn.Read(p)
}

// A client is not disconnected if its pong has arrived, even if the process has not read it
// yet.
func TestUnreadPong(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	paused := &pausedListener{Listener: ln, free: make(chan struct{})}
	hub := realtime.New(realtime.Options{PingInterval: 50 * time.Millisecond, PongTimeout: 3 * time.Second})
	handler := &events{
		open:    func(*realtime.Conn) { paused.hold.Store(true) }, // before the first message is read
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
	go func() { done <- srv.Run(ctx, paused) }()
	go func() { done <- hub.Run(ctx) }()
	release := sync.OnceFunc(func() { close(paused.free) })
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
		if pings++; pings == 2 { // PongTimeout after the first ping has passed
			release()
			if err := c.WriteMessage(websocket.TextMessage, []byte("hello")); err != nil {
				return err
			}
		}
		return c.WriteControl(websocket.PongMessage, []byte(data), time.Now().Add(patience))
	})
	wantText(t, c, "hello")
}
