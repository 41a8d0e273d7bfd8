package server

import (
	"errors"
	"net"
	"sync"
	"time"

	"github.com/valyala/fasthttp"
)

// errForeign is what Take fails with outside a handler of this package.
var errNotServerConn = errors.New("this connection is not the server's own")

// Taken is a connection whose HTTP is over: fasthttp holds neither a goroutine
// nor a buffer for it any more. It still counts for the limits and the Meter
// until Close. Server.Run neither waits for it nor closes it.
type Taken struct {
	net.Conn // outermost, so with TLS if there is any

	c        *conn
	buffered []byte // what the client sent behind its request
}

// Take hands the connection over to take when the handler has returned nil.
// Nothing is answered: Head is what the new owner writes first, if it wants to
// go on in HTTP. take must not block.
func Take(ctx *fasthttp.RequestCtx, take func(*Taken)) error {
	c, ok := ctx.Conn().(*conn)
	if !ok {
		return errNotServerConn
	}
	ctx.HijackSetNoResponse(true)
	ctx.Hijack(func(buffered net.Conn) {
		c.detached = true // read by this goroutine alone, when fasthttp closes it
		take(&Taken{Conn: c, c: c, buffered: readBuffered(c, buffered)})
	})
	return nil
}

// pieces are what unread reads into; in nearly all cases nothing is there.
var readBuffers = sync.Pool{New: func() any { return new([512]byte) }}

// unread returns what fasthttp has read ahead and parsed no more: a read beyond
// its buffer fails at once, since the deadline is over.
func readBuffered(c *conn, buffered net.Conn) (rest []byte) {
	if c.SetReadDeadline(time.Unix(1, 0)) != nil {
		return nil
	}
	piece := readBuffers.Get().(*[512]byte)
	defer readBuffers.Put(piece)
	for {
		n, err := buffered.Read(piece[:])
		rest = append(rest, piece[:n]...)
		if err != nil || n == 0 {
			break
		}
	}
	_ = c.SetReadDeadline(time.Time{}) // if it fails so will the next Read
	return rest
}

// Head returns the head of an answer as fasthttp would send it for what the
// handler has set in ctx.Response, with the fields that every answer of this
// server carries and for a body of unknown length: in chunks (RFC 9112 §7.1) if
// chunked is true, else until the connection is closed, which is all that an
// HTTP/1.0 client understands.
func Head(ctx *fasthttp.RequestCtx) (head []byte, chunked bool) {
	if c, ok := ctx.Conn().(*conn); ok {
		addCommonFields(ctx, c)
	}
	h := &ctx.Response.Header
	h.SetServer("gale")
	chunked = ctx.Request.Header.IsHTTP11()
	if chunked {
		h.SetContentLength(-1)
	} else {
		h.SetContentLength(-2)
		h.Del(fasthttp.HeaderTransferEncoding)
	}
	h.SetConnectionClose()
	return h.AppendBytes(nil), chunked
}

// Read returns what the client sent.
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

// Unread reports whether bytes from the client wait in the kernel that nobody has
// read yet.
func (t *Taken) Unread() bool { return t.c.hasUnread() }

// Close ends the connection at once.
func (t *Taken) Close() error { return t.c.end() }

// Finish ends the connection so that the client reads all that was written,
// whatever it is sending: see the lingering close of conn. The client has until
// then to leave. Nobody else may read meanwhile.
func (t *Taken) Finish(within time.Duration) error {
	if !t.c.closed.CompareAndSwap(false, true) { // Reset by who writes, perhaps
		return net.ErrClosed
	}
	t.c.linger, t.c.lingerFor = true, within
	return t.c.finishClose()
}

// Reset ends the connection and drops what the kernel still has to send.
func (t *Taken) Reset() error {
	if tcp, ok := t.c.raw.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // else it ends the slow way
	}
	if t.c.tls != nil {
		_ = t.c.raw.Close() // or TLS would wait to say goodbye (tls.Conn.Close)
	}
	return t.c.end()
}

// Watch calls gone, once, when the client closes the connection or its sending
// side; gone must not block. It costs no goroutine. stop must be called before
// the connection is closed. What cannot be watched is found out by writing.
func (t *Taken) Watch(gone func()) (stop func()) { return t.c.watch(gone) }
