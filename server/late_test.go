package server_test

import (
	"context"
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"github.com/galeserver/gale/server"

	"golang.org/x/sys/unix"
)

// lateListener simulates a slow process: the wait for a request has expired, and the next
// request arrives before the process reads again.
type lateListener struct {
	net.Listener
	t    *testing.T
	ends chan struct{} // a wait has ended
}

func (l lateListener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return lateConn{nc.(*net.TCPConn), l}, nil
}

type lateConn struct {
	*net.TCPConn
	l lateListener
}

func (c lateConn) Read(p []byte) (int, error) {
	n, err := c.TCPConn.Read(p)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		raw, rawErr := c.SyscallConn()
		if rawErr != nil {
			return n, rawErr
		}
		c.l.ends <- struct{}{}
		for tick := time.Tick(time.Millisecond); c.l.t.Context().Err() == nil; <-tick {
			ready := 0 // to be read: bytes, or the end
			if raw.Control(func(fd uintptr) { ready, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0) }) != nil || ready > 0 {
				break
			}
		}
	}
	return n, err
}

// A request that arrives just when the idle timeout expires is served; its connection is
// not reset.
func TestIdleTimeoutMeetsRequest(t *testing.T) {
	t.Parallel()
	s := newSite()
	o := server.Options{IdleTimeout: time.Millisecond, Meter: &s.meter}
	srv, err := server.New(o, s.routes())
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = ln.Addr().String()
	ctx, cancel := context.WithCancel(t.Context())
	late := lateListener{ln, t, make(chan struct{}, 10)}
	go func() { s.done <- srv.Run(ctx, late) }()
	c := dial(t, s)
	for range 3 {
		<-late.ends
		c.send(post("/read", "12345"))
		if got := c.response(); got.status != 200 || got.body != "5" || got.close {
			t.Fatalf("got %+v", got)
		}
	}
	c.Close()
	cancel()
	if err := s.end(t); err != nil {
		t.Error(err)
	}
}
