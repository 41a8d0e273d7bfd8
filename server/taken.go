package server

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// errNoDescriptor is the error of TryRead and Descriptor if CanWatch is false.
var errNoDescriptor = errors.New("the connection cannot be watched")

// Taken is a connection that has left HTTP: fasthttp holds neither a goroutine nor a
// buffer for it. It counts for the limits and the Meter until Close. Server.Run
// neither waits for it nor closes it.
type Taken struct {
	net.Conn // the outermost layer: TLS, if the server uses it

	closed   atomic.Bool
	srv      *Server
	origin   origin
	buffered []byte // bytes that fasthttp has read beyond the end of the request
}

// Read reads bytes from the client, beginning with those after the request.
func (t *Taken) Read(p []byte) (int, error) {
	if len(t.buffered) > 0 {
		n := copy(p, t.buffered)
		if t.buffered = t.buffered[n:]; len(t.buffered) == 0 {
			t.buffered = nil
		}
		return n, nil
	}
	return t.Conn.Read(p)
}

// Buffered returns the number of bytes that Read returns without a system call.
func (t *Taken) Buffered() int { return len(t.buffered) }

// TryRead reads the bytes that have arrived, without waiting. If there are none, the error is
// syscall.EAGAIN. At the end of the stream it is io.EOF. TryRead works only if CanWatch
// is true.
func (t *Taken) TryRead(p []byte) (n int, err error) {
	if len(t.buffered) > 0 {
		return t.Read(p)
	}
	raw, err := t.rawConn()
	if err != nil {
		return 0, err
	}
	failed := raw.Read(func(fd uintptr) bool {
		for {
			if n, err = unix.Read(int(fd), p); !errors.Is(err, unix.EINTR) {
				return true // do not wait
			}
		}
	})
	switch {
	case failed != nil:
		return 0, failed
	case errors.Is(err, unix.EAGAIN):
		return 0, err
	case err != nil:
		return 0, os.NewSyscallError("read", err)
	case n == 0 && len(p) > 0:
		return 0, io.EOF
	}
	return n, nil
}

// CanWatch reports whether the connection is a plain one of TCP or of a Unix domain socket,
// without TLS. Then its file descriptor can be watched with epoll(7).
func (t *Taken) CanWatch() bool {
	switch t.Conn.(type) {
	case *net.TCPConn, *net.UnixConn:
		return true
	}
	return false
}

// socket returns the connection below TLS.
func (t *Taken) socket() net.Conn {
	if c, ok := t.Conn.(*tls.Conn); ok {
		return c.NetConn()
	}
	return t.Conn
}

// Descriptor calls use with the file descriptor of the connection, which stays open until
// use returns. It returns an error if CanWatch is false or the connection is closed.
func (t *Taken) Descriptor(use func(fd int)) error {
	raw, err := t.rawConn()
	if err != nil {
		return err
	}
	return raw.Control(func(fd uintptr) { use(int(fd)) })
}

func (t *Taken) rawConn() (syscall.RawConn, error) {
	sc, ok := t.Conn.(syscall.Conn)
	if !ok || !t.CanWatch() {
		return nil, errNoDescriptor
	}
	return sc.SyscallConn()
}

// Unread reports whether the kernel's receive buffer holds bytes from the client.
func (t *Taken) Unread() bool { return hasUnread(t.socket()) }

// Close ends the connection at once.
func (t *Taken) Close() error {
	if !t.closed.CompareAndSwap(false, true) {
		return net.ErrClosed
	}
	return t.end()
}

// end does the work of Close. The caller must have set closed.
func (t *Taken) end() error {
	err := t.Conn.Close()
	t.srv.conns.release(t.origin)
	t.srv.opts.Meter.ConnClosed()
	return err
}

// Finish closes the connection with a lingering close, so that the client can read
// everything that was written, even if it is still sending. within is how long Finish
// waits for the client to close too; 0 means 5 s. No other goroutine may read meanwhile.
// Finish returns net.ErrClosed if the connection is closed already.
func (t *Taken) Finish(within time.Duration) error {
	if !t.closed.CompareAndSwap(false, true) { // another goroutine may have called Reset
		return net.ErrClosed
	}
	discardInput(t.Conn, within)
	return t.end()
}

// Reset ends the connection and drops what the kernel has not sent yet.
func (t *Taken) Reset() error {
	socket := t.socket()
	if tcp, ok := socket.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // if it fails, Close sends the rest first
	}
	if socket != t.Conn {
		_ = socket.Close() // tls.Conn.Close would wait to send its alert
	}
	return t.Close()
}

// Watch calls gone, once, when the client closes the connection or its sending side.
// gone must not block. Watching needs no goroutine. stop must be called before the
// connection is closed. If the connection cannot be watched, gone is never called, and
// only a failed write shows that the client has left.
func (t *Taken) Watch(gone func()) (stop func()) {
	c, socket := new(watchedConn), t.socket()
	t.srv.watcher.watch(c, socket, gone)
	return func() { t.srv.watcher.forget(c, socket) }
}
