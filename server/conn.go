package server

import (
	"cmp"
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

// phase is the state of a connection; the package comment shows the transitions.
type phase = int32

const (
	fresh       phase = iota // no byte read yet
	handshaking              // before or during the TLS handshake
	idle                     // between two requests
	head                     // part of a head was read
	serving                  // a handler runs, and may read the body
	responding               // the handler has returned, and its response is written
	taken                    // hijacked: the new owner sets deadlines and closes
)

const (
	// writeChunk is the part of a response that one write deadline covers.
	writeChunk = 64 << 10

	// While the server drains, an idle connection stays open for drainIdle. A new
	// connection stays open until drainFresh after its accept. So a request that was
	// sent before the drain began still gets its response.
	drainIdle  = 500 * time.Millisecond
	drainFresh = 5 * time.Second
)

// errAborted is the error of a Read that was interrupted by abort.
var errAborted = errors.New("read was cut short")

// conn adds deadlines that fasthttp does not have: one for the wait between requests,
// one for a complete head, and one for bodies and responses, which is extended whenever
// bytes are read or written. fasthttp's own ReadTimeout and WriteTimeout would end a large
// transfer that is making progress. conn also implements the lingering close (see Close).
//
// Only the goroutine that serves the connection uses the fields that are not atomic.
type conn struct {
	net.Conn           // raw, or tls over it
	raw      net.Conn  // the socket
	tls      *tls.Conn // TLS connection; nil: no TLS
	srv      *Server
	origin

	phase   atomic.Int32
	aborted atomic.Bool
	closed  atomic.Bool

	accepted instant
	readBy   instant   // current read deadline
	writeBy  instant   // current write deadline
	headBy   instant   // deadline of the head; zero before its first byte
	bodyBy   instant   // deadline for draining a body; zero otherwise
	readErr  error     // first error of Read, returned by every later Read
	lines    headLines // line ends of the current head

	id        []byte          // id of the current request
	admission admission       // decision about the current request
	context   *requestContext // of the current request; nil before its first use
	body      *body           // body of the current request, or nil
	linger    bool            // the server closes the connection before the client, see Close
	detached  bool            // the new owner closes the connection, see Take
	tail      *exchange       // response whose body Close has to write, or nil
	timing    *timing         // nil without Options.SlowRequest
	watched   watchedConn     // see Gone

	exchange atomic.Pointer[exchange] // exchange in progress, see HTTP; nil: none
}

func (c *conn) setPhase(p phase) { c.phase.Store(p) }

// Read sets the deadline of the connection's phase and reads. If no request arrives
// within that time, it returns io.EOF: after any other error fasthttp would send an
// error response to a client that sent no request. After an error every later Read
// returns the same error, so a connection that failed inside a body is not read again.
func (c *conn) Read(p []byte) (int, error) {
	switch c.phase.Load() {
	case taken:
		return c.Conn.Read(p)
	case handshaking:
		c.readErr = c.tlsHandshake()
	}
	if c.lines.malformed && c.phase.Load() != serving { // fasthttp wants more bytes of the malformed head
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
				c.beginHead()
			}
			if c.phase.Load() == head {
				c.lines.add(p[:n])
			}
			return n, nil
		case err == nil:
			return 0, nil
		case errors.Is(err, os.ErrDeadlineExceeded) && now() < c.readBy:
			c.readBy = 0 // interrupted: compute the deadline again
		case errors.Is(err, os.ErrDeadlineExceeded) && c.betweenRequests() && hasUnread(c.raw):
			// A request arrived just as the wait ended. Closing now would lose it,
			// and a client does not repeat a POST.
			c.beginHead()
		case errors.Is(err, os.ErrDeadlineExceeded) && c.betweenRequests():
			c.readErr = io.EOF
		default:
			c.readErr = err
		}
	}
	return 0, c.readErr
}

// beginHead is called when the first byte of a request has arrived.
func (c *conn) beginHead() {
	c.setPhase(head)
	c.headBy = 0
	c.timing.beginHead()
}

// betweenRequests reports whether the connection waits for a request.
func (c *conn) betweenRequests() bool {
	p := c.phase.Load()
	return p == fresh || p == handshaking || p == idle
}

// hasUnread reports whether the kernel's receive buffer of a socket holds bytes from the
// client. It does not block, and it ignores the read deadline.
func hasUnread(socket net.Conn) (unread bool) {
	sc, ok := socket.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	_ = raw.Control(func(fd uintptr) { // fails if the connection is closed
		n, err := unix.IoctlGetInt(int(fd), unix.SIOCINQ)
		unread = err == nil && n > 0
	})
	return unread
}

// interruptRead makes a blocked Read compute its deadline again. It is called when the
// server begins to drain and when the connection is aborted, from any goroutine. It does
// not interrupt a TLS handshake, since an interrupted handshake cannot be resumed; the
// Read after the handshake computes a new deadline anyway.
func (c *conn) interruptRead() {
	if c.phase.Load() != handshaking {
		_ = c.SetReadDeadline(time.Unix(1, 0))
	}
}

// abort makes a blocked Read and every later Read fail with errAborted. It may be called
// from any goroutine.
func (c *conn) abort() {
	c.aborted.Store(true)
	c.interruptRead()
}

// setReadDeadline sets the read deadline. interruptRead sets it too, after the state
// has changed. So setReadDeadline sets the deadline first and then checks whether the
// state changed meanwhile.
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

// readDeadline returns the deadline of a read that starts now. If the current deadline is
// at most slack earlier, it need not be replaced.
func (c *conn) readDeadline(draining bool) (by instant, slack time.Duration) {
	o, now := &c.srv.opts, now()
	if c.phase.Load() == responding {
		c.timing.endResponse(c)
		c.setPhase(idle)
	}
	switch p := c.phase.Load(); p {
	case fresh, idle:
		if !draining {
			return now.add(o.IdleTimeout), o.IdleTimeout / 16
		}
		by = now.add(drainIdle)
		if p == fresh {
			by = max(by, c.accepted.add(drainFresh))
		}
		return by, 0
	case head:
		if c.headBy == 0 {
			c.headBy = now.add(o.ReadTimeout)
		}
		return c.headBy, 0
	}
	by = now.add(o.ReadTimeout)
	if c.bodyBy != 0 && c.bodyBy < by {
		return c.bodyBy, 0
	}
	return by, o.ReadTimeout / 16
}

// extendDeadline sets a deadline, unless the current one is at most slack earlier.
// On a busy connection this avoids nearly all calls of set.
func extendDeadline(set func(time.Time) error, current *instant, by instant, slack time.Duration) error {
	if early := by.sub(*current); 0 <= early && early <= slack {
		return nil
	}
	*current = by
	return set(by.time())
}

// Write writes a response, with a deadline for each 64 KiB of it.
func (c *conn) Write(p []byte) (written int, err error) {
	if c.phase.Load() == taken {
		return c.Conn.Write(p)
	}
	timeout := c.srv.opts.WriteTimeout
	for {
		err = extendDeadline(c.SetWriteDeadline, &c.writeBy, now().add(timeout), timeout/16)
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

// SetDeadline marks the connection as hijacked: fasthttp calls it only for a hijacked
// connection. From then on the new owner sets the deadlines.
func (c *conn) SetDeadline(t time.Time) error {
	c.setPhase(taken)
	c.srv.watcher.forget(&c.watched, c.raw)
	c.srv.conns.remove(c)
	return c.Conn.SetDeadline(t)
}
