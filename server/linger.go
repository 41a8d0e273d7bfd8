package server

import (
	"cmp"
	"errors"
	"io"
	"net"
	"os"
	"time"
)

// lingerBytes and lingerTime limit the lingering close (see Close). The time allows a
// slow client to read the response and to close. The bytes allow a client to send its
// complete request before it reads the response.
const (
	lingerBytes = 64 << 20
	lingerTime  = 5 * time.Second
)

// Close ends the connection. If the server closes first and input may be unread, it
// lingers: it shuts down its sending side, then reads and drops input until the client
// closes too, within lingerBytes and lingerTime. Closing a socket with unread input
// sends a reset, and a reset makes the client's kernel drop the response that it has
// already received (RFC 9112 §9.6).
//
// Close does nothing for a connection that was taken (see Take), since its new owner
// closes it.
func (c *conn) Close() error {
	if c.detached {
		return nil
	}
	if c.tail != nil {
		c.tail.writeTail()
		c.tail = nil
	}
	return c.end()
}

func (c *conn) end() error {
	if !c.closed.CompareAndSwap(false, true) {
		return net.ErrClosed
	}
	c.timing.endResponse(c)
	closedFirst := c.linger || c.phase.Load() == responding && c.srv.draining()
	clientOpen := c.readErr == nil || errors.Is(c.readErr, errAborted) || errors.Is(c.readErr, os.ErrDeadlineExceeded)
	if closedFirst && clientOpen {
		discardInput(c.Conn, lingerTime)
	}
	c.srv.watcher.forget(&c.watched, c.raw)
	err := c.Conn.Close()
	c.srv.conns.release(c.origin)
	c.srv.opts.Meter.ConnClosed()
	c.srv.conns.remove(c) // last, since Run may return as soon as no connection is left
	return err
}

// discardInput shuts down the sending side of c, then reads and drops input until the client
// closes too, within lingerBytes and the time within; 0 means lingerTime.
func discardInput(c net.Conn, within time.Duration) {
	half, ok := c.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	if c.SetReadDeadline(time.Now().Add(cmp.Or(within, lingerTime))) != nil {
		return
	}
	// An error means that the client closed or that the time is up.
	_, _ = io.CopyN(io.Discard, c, lingerBytes)
}
