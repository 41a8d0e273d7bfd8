package realtime

import (
	"errors"
	"sync"
	"syscall"
	"time"

	"github.com/fasthttp/websocket"
)

// writeChunk is the number of bytes that get a write deadline of their own.
const writeChunk = 64 << 10

// output is the writing side of a deadlineConn.
type output struct {
	mu        sync.Mutex // held while bytes are written, also while that waits for the client
	rest      []byte     // bytes of tryWrite that the kernel has not taken
	closeSent bool       // true after the library has sent a close frame: no frame may follow it
}

// SetWriteDeadline does nothing: Write sets a deadline when it has to wait. The library calls
// SetWriteDeadline for each frame.
func (p *deadlineConn) SetWriteDeadline(time.Time) error { return nil }

// Write implements net.Conn. It waits until the client takes the bytes.
func (p *deadlineConn) Write(b []byte) (written int, err error) {
	p.out.mu.Lock()
	defer p.out.mu.Unlock()
	if len(b) > 0 && b[0] == closeFrame {
		defer func() { p.out.closeSent = true }()
	}
	if err := p.writeRest(); err != nil {
		return 0, err
	}
	return p.writeAll(b)
}

// flush writes what tryWrite has left.
func (p *deadlineConn) flush() error {
	p.out.mu.Lock()
	defer p.out.mu.Unlock()
	return p.writeRest()
}

// writeRest does the work of flush. The caller holds out.mu.
func (p *deadlineConn) writeRest() error {
	if p.out.rest == nil {
		return nil
	}
	_, err := p.writeAll(p.out.rest)
	p.out.rest = nil
	return err
}

// writeAll writes b, and waits for the client if necessary. The caller holds out.mu.
func (p *deadlineConn) writeAll(b []byte) (written int, err error) {
	if written, err = p.writeSome(b); err != nil || written == len(b) {
		return written, err
	}
	for {
		if err := p.Taken.SetWriteDeadline(time.Now().Add(p.timeout)); err != nil {
			return written, err
		}
		n, err := p.Taken.Write(b[written:min(len(b), written+writeChunk)])
		written += n
		if err != nil || written == len(b) {
			return written, err
		}
	}
}

// tryWrite writes b without waiting. If more is to be done, it returns later, which may wait
// and must be called before anything else is written. b must not be changed until later
// has returned. After a close frame of the library, b is dropped.
func (p *deadlineConn) tryWrite(b []byte) (later func() error, err error) {
	if !p.plain || !p.out.mu.TryLock() {
		return func() error { return p.writeFrame(b) }, nil
	}
	defer p.out.mu.Unlock()
	switch {
	case p.out.closeSent:
		return nil, websocket.ErrCloseSent
	case p.out.rest != nil: // cannot happen: later was called
		return func() error { return p.writeFrame(b) }, nil
	}
	n, err := p.writeSome(b)
	if err != nil || n == len(b) {
		return nil, err
	}
	p.out.rest = b[n:]
	return p.flush, nil
}

// writeFrame is Write for frames that do not come from the library.
func (p *deadlineConn) writeFrame(parts ...[]byte) error {
	p.out.mu.Lock()
	defer p.out.mu.Unlock()
	if p.out.closeSent {
		return websocket.ErrCloseSent
	}
	if err := p.writeRest(); err != nil {
		return err
	}
	for _, b := range parts {
		if _, err := p.writeAll(b); err != nil {
			return err
		}
	}
	return nil
}

// writeSome writes what the kernel takes without waiting: nothing if the connection is not a
// plain socket. The caller holds out.mu.
func (p *deadlineConn) writeSome(b []byte) (n int, err error) {
	if !p.plain {
		return 0, nil
	}
	closed := p.Descriptor(func(fd int) {
		for {
			// Not unix.Write: only package syscall tells the race detector what package net does.
			if n, err = syscall.Write(fd, b); !errors.Is(err, syscall.EINTR) {
				return
			}
		}
	})
	if closed != nil {
		return 0, closed
	}
	if errors.Is(err, syscall.EAGAIN) {
		return 0, nil
	}
	return max(n, 0), err
}
