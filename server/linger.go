package server

import (
	"cmp"
	"errors"
	"io"
	"net"
	"os"
	"time"
)

// lingerBytes and lingerTime bound what a client may still send after the server
// has ended the connection from its side. The time is what a slow client has to
// read the answer and leave; the bytes are what one sends that reads nothing
// until all is sent.
const (
	lingerBytes = 64 << 20
	lingerTime  = 5 * time.Second
)

// Close ends the connection. Where the server ends it and input may be unread,
// it lingers: it says that nothing more will come, then reads and drops what
// does come until the client leaves too, within lingerBytes and lingerTime. A
// socket closed over unread input sends a reset, and a reset makes the client's
// kernel throw away the answer that it has received already (RFC 9112 §9.6).
//
// A connection that was taken (see Take) is closed by who took it alone.
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
	return c.finishClose()
}

// shut is end for whoever has set closed.
func (c *conn) finishClose() error {
	ended := c.linger || c.phase.Load() == responding && c.srv.draining()
	present := c.readErr == nil || errors.Is(c.readErr, errAborted) || errors.Is(c.readErr, os.ErrDeadlineExceeded)
	if ended && present {
		c.discardInput()
	}
	err := c.Conn.Close()
	c.srv.conns.release(c)
	c.srv.opts.Meter.ConnClosed()
	c.srv.conns.remove(c) // last: Run returns with it, and all is counted by then
	return err
}

func (c *conn) discardInput() {
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	if c.SetReadDeadline(time.Now().Add(cmp.Or(c.lingerFor, lingerTime))) != nil {
		return
	}
	// How it ends is of no matter: the client left, or its time is up.
	_, _ = io.CopyN(io.Discard, c.Conn, lingerBytes)
}
