package realtime

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"testing"
	"time"

	"github.com/fasthttp/websocket"

	"github.com/galeserver/gale/server"
)

// newOutput returns a connection whose kernel buffer is small, and its client.
func newOutput(t *testing.T, timeout time.Duration) (p *deadlineConn, client net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if client, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	conn, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := errors.Join(conn.(*net.TCPConn).SetWriteBuffer(4096), client.SetReadDeadline(time.Now().Add(time.Minute))); err != nil {
		t.Fatal(err)
	}
	taken := &server.Taken{Conn: conn}
	return &deadlineConn{Taken: taken, timeout: timeout, plain: taken.CanWatch()}, client
}

// tryBlocked writes until the kernel takes no more, and returns what was written and the rest of the
// work.
func tryBlocked(t *testing.T, p *deadlineConn) (written []byte, later func() error) {
	t.Helper()
	for later == nil {
		b := make([]byte, 100_000)
		for i := range b {
			b[i] = byte(rand.Uint32())
		}
		var err error
		if later, err = p.tryWrite(b); err != nil {
			t.Fatal(err)
		}
		written = append(written, b...)
	}
	return written, later
}

// What the kernel has not taken is written before everything else.
func TestTryWrite(t *testing.T) {
	t.Parallel()
	p, client := newOutput(t, time.Minute)
	want, later := tryBlocked(t, p)
	ping := []byte{0x89, 0}
	done := make(chan error, 2)
	go func() { done <- p.writeFrame(ping[:1], ping[1:]) }()
	go func() { done <- later() }()
	want = append(want, ping...)
	got := make([]byte, len(want))
	if _, err := io.ReadFull(client, got); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(<-done, <-done); err != nil {
		t.Error(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("the bytes have changed")
	}
}

// A goroutine that may not wait does not wait for one that writes.
func TestTryWriteWhileWriting(t *testing.T) {
	t.Parallel()
	p, client := newOutput(t, time.Minute)
	want, later := tryBlocked(t, p)
	p.out.mu.Lock()
	busy, err := p.tryWrite([]byte("b"))
	p.out.mu.Unlock()
	if busy == nil || err != nil {
		t.Fatalf("no function that writes, %v", err)
	}
	done := make(chan error, 1)
	go func() { done <- errors.Join(later(), busy()) }()
	want = append(want, 'b')
	got := make([]byte, len(want))
	if _, err := io.ReadFull(client, got); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%v, or the bytes have changed", err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestTryWriteTimeout(t *testing.T) {
	t.Parallel()
	p, _ := newOutput(t, 50*time.Millisecond)
	var err error
	for err == nil { // until the buffers of both sides are full
		_, later := tryBlocked(t, p)
		err = later()
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%v; want a timeout", err)
	}
}

// After a close frame of the library, no frame is written.
func TestNoFrameAfterClose(t *testing.T) {
	t.Parallel()
	p, client := newOutput(t, time.Minute)
	if _, err := p.Write([]byte{closeFrame, 0}); err != nil {
		t.Fatal(err)
	}
	if later, err := p.tryWrite([]byte("a")); later != nil || !errors.Is(err, websocket.ErrCloseSent) {
		t.Errorf("tryWrite: %v", err)
	}
	if err := p.writeFrame([]byte("b")); !errors.Is(err, websocket.ErrCloseSent) {
		t.Errorf("writeFrame: %v", err)
	}
	if err := p.Conn.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(client); err != nil || !bytes.Equal(got, []byte{closeFrame, 0}) {
		t.Errorf("received %x, %v", got, err)
	}
}
