package server

import (
	"cmp"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// phase is where a connection stands; the package's comment has the picture.
type phase = int32

const (
	fresh       phase = iota // nothing read yet
	handshaking              // a TLS handshake is to come, or under way
	idle                     // between two requests
	head                     // part of a head has come
	serving                  // a handler runs, and may read the body
	responding               // it returned; its answer is written
	taken                    // hijacked: deadlines and end are the new owner's
)

const (
	// writeChunk is how much of an answer one write deadline is for.
	writeChunk = 64 << 10

	// When the server is to end, a connection between two requests stays open
	// for drainIdle, and a new one until it is drainFresh old: a request that
	// is on its way when the server decides to leave is still answered.
	drainIdle  = 500 * time.Millisecond
	drainFresh = 5 * time.Second
)

// errAborted is what a Read ends with that outlived its handler.
var errAborted = errors.New("read was cut short")

// conn gives a connection the deadlines that fasthttp has not: one for the wait
// between requests, one for a head as a whole, and rolling ones for bodies and
// answers, where fasthttp's ReadTimeout and WriteTimeout would end a large but
// lively transfer. It also knows how to close (see Close).
//
// All but the atomics belongs to the goroutine that serves the connection.
type conn struct {
	net.Conn           // what is read and written: raw, or tls over it
	raw      net.Conn  // the socket
	tls      *tls.Conn // or nil
	srv      *Server
	peer     netip.Addr // zero if it is no TCP connection
	trusted  bool       // the peer is a proxy whose word is believed

	phase   atomic.Int32
	aborted atomic.Bool
	closed  atomic.Bool

	accepted time.Time
	readBy   time.Time // the read deadline that is set
	writeBy  time.Time // the write deadline that is set
	headBy   time.Time // when the head must be complete; zero until asked for
	bodyBy   time.Time // when draining a body ends; zero while none is drained
	readErr  error     // sticky
	lines    headLines // of heads

	id        []byte        // of the request being handled
	admission admission     // of that request
	body      *body         // of that request, or nil
	linger    bool          // the server ends this connection, not the client
	lingerFor time.Duration // what the client may take to leave then; 0: lingerTime
	detached  bool          // its new owner closes it, see Take
	tail      *exchange     // response whose body Close has to write, or nil

	exchange atomic.Pointer[exchange] // in progress: see HTTP
}

func (c *conn) setPhase(p phase) { c.phase.Store(p) }

// Read reads under the deadline of the connection's phase. The expiry of a wait
// for a request is reported as io.EOF: fasthttp would send an error to a client
// that asked nothing. Errors stay, so that a connection that failed inside a
// body is not read again.
func (c *conn) Read(p []byte) (int, error) {
	switch c.phase.Load() {
	case taken:
		return c.Conn.Read(p)
	case handshaking:
		c.readErr = c.tlsHandshake()
	}
	if c.lines.malformed && c.phase.Load() != serving { // fasthttp wants more of a head
		c.readErr = cmp.Or(c.readErr, errLineEnd)
	}
	for c.readErr == nil {
		if err := c.setReadDeadline(); err != nil {
			c.readErr = err
			break
		}
		n, err := c.Conn.Read(p)
		switch {
		case n > 0:
			c.readErr = err
			if c.betweenRequests() {
				c.setPhase(head)
				c.headBy = time.Time{}
			}
			if c.phase.Load() == head {
				c.lines.add(p[:n])
			}
			return n, nil
		case err == nil:
			return 0, nil
		case errors.Is(err, os.ErrDeadlineExceeded) && time.Now().Before(c.readBy):
			c.readBy = time.Time{} // nudged: look again
		case errors.Is(err, os.ErrDeadlineExceeded) && c.betweenRequests() && c.hasUnread():
			// A request came in the instant in which the wait ended, and this
			// process was late to look: a client would not send a POST again.
			c.setPhase(head)
			c.headBy = time.Time{}
		case errors.Is(err, os.ErrDeadlineExceeded) && c.betweenRequests():
			c.readErr = io.EOF
		default:
			c.readErr = err
		}
	}
	return 0, c.readErr
}

// waits reports whether the connection is between requests.
func (c *conn) betweenRequests() bool {
	p := c.phase.Load()
	return p == fresh || p == handshaking || p == idle
}

// unread reports whether bytes from the client wait in the kernel. It looks without
// waiting, also when the read deadline is over.
func (c *conn) hasUnread() (waiting bool) {
	sc, ok := c.raw.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	_ = raw.Control(func(fd uintptr) { // fails if the connection is closed
		n, err := unix.IoctlGetInt(int(fd), unix.SIOCINQ)
		waiting = err == nil && n > 0
	})
	return waiting
}

// nudge makes a Read that is under way look at the situation again: whether the
// server is to end, whether it was aborted. It may be called from any goroutine.
// A handshake is left alone: it would fail for good, and the Read after it looks.
func (c *conn) interruptRead() {
	if c.phase.Load() != handshaking {
		_ = c.SetReadDeadline(time.Unix(1, 0))
	}
}

// abort ends a Read of another goroutine, and all reading.
func (c *conn) abort() {
	c.aborted.Store(true)
	c.interruptRead()
}

// armRead sets the read deadline. nudge sets it too, and whoever nudges has
// changed something before: so look, set, and look whether it changed meanwhile.
func (c *conn) setReadDeadline() error {
	for {
		draining := c.srv.draining()
		by, slack := c.readDeadline(draining)
		if err := extendDeadline(c.SetReadDeadline, &c.readBy, by, slack); err != nil {
			return err
		}
		if c.aborted.Load() {
			return errAborted
		}
		if draining == c.srv.draining() {
			return nil
		}
	}
}

// readLimit returns when a read that begins now must end, and by how much less
// will do.
func (c *conn) readDeadline(draining bool) (by time.Time, slack time.Duration) {
	o, now := &c.srv.opts, time.Now()
	if c.phase.Load() == responding {
		c.setPhase(idle)
	}
	switch p := c.phase.Load(); p {
	case fresh, idle:
		if !draining {
			return now.Add(o.IdleTimeout), o.IdleTimeout / 16
		}
		by = now.Add(drainIdle)
		if last := c.accepted.Add(drainFresh); p == fresh && last.After(by) {
			by = last
		}
		return by, 0
	case head:
		if c.headBy.IsZero() {
			c.headBy = now.Add(o.ReadTimeout)
		}
		return c.headBy, 0
	}
	by = now.Add(o.ReadTimeout)
	if !c.bodyBy.IsZero() && c.bodyBy.Before(by) {
		return c.bodyBy, 0
	}
	return by, o.ReadTimeout / 16
}

// armBy sets a deadline unless the one that is set is early by no more than
// slack: on a busy connection that spares nearly all the calls.
func extendDeadline(set func(time.Time) error, current *time.Time, by time.Time, slack time.Duration) error {
	if early := by.Sub(*current); 0 <= early && early <= slack {
		return nil
	}
	*current = by
	return set(by)
}

// Write writes an answer, with a deadline for each 64 KiB of it.
func (c *conn) Write(p []byte) (written int, err error) {
	if c.phase.Load() == taken {
		return c.Conn.Write(p)
	}
	timeout := c.srv.opts.WriteTimeout
	for {
		err = extendDeadline(c.SetWriteDeadline, &c.writeBy, time.Now().Add(timeout), timeout/16)
		if err != nil {
			return written, err
		}
		n, err := c.Conn.Write(p[written:min(len(p), written+writeChunk)])
		written += n
		if err != nil || written == len(p) {
			return written, err
		}
	}
}

// SetDeadline is called by fasthttp when a connection has been hijacked, and at
// no other time: the deadlines are the new owner's from now on.
func (c *conn) SetDeadline(t time.Time) error {
	c.setPhase(taken)
	c.srv.conns.remove(c)
	return c.Conn.SetDeadline(t)
}
