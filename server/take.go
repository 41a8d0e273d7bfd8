package server

import (
	"errors"
	"net"
	"sync"
	"time"

	"github.com/valyala/fasthttp"
)

// errNotServerConn is the error of Take for a request that no Server of this package
// serves.
var errNotServerConn = errors.New("the connection does not belong to a server.Server")

// Taken is a connection that has left HTTP: fasthttp holds neither a goroutine nor a
// buffer for it. It counts for the limits and the Meter until Close. Server.Run
// neither waits for it nor closes it.
type Taken struct {
	net.Conn // the outermost layer: TLS, if the server uses it

	c        *conn
	buffered []byte // bytes that fasthttp has read beyond the end of the request
}

// Take hijacks the connection of the request: it calls take with the connection after
// the handler has returned nil. From then on the caller owns the connection and must
// close it. The server sends no response; to send one, begin with the bytes that Head
// returned. take must not block. Take returns an error outside of a Server.
func Take(ctx *fasthttp.RequestCtx, take func(*Taken)) error {
	c, ok := ctx.Conn().(*conn)
	if !ok {
		return errNotServerConn
	}
	ctx.HijackSetNoResponse(true)
	ctx.Hijack(func(buffered net.Conn) {
		c.detached = true // read by this goroutine only, when fasthttp calls Close
		take(&Taken{Conn: c, c: c, buffered: readBuffered(c, buffered)})
	})
	return nil
}

// readBuffers are buffers for readBuffered, which nearly always finds nothing.
var readBuffers = sync.Pool{New: func() any { return new([512]byte) }}

// readBuffered returns the unparsed bytes in fasthttp's buffer. It sets a read deadline
// in the past, so that a read beyond the buffer fails at once.
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
	_ = c.SetReadDeadline(time.Time{}) // if it fails, the next Read fails too
	return rest
}

// Head returns the head of a response for a connection that is taken. It contains the
// status and fields that the handler has set in ctx.Response, those of Route.Header, and
// the fields that every response of this server has. It declares no length for the body. If chunked is true,
// the body must be sent in chunks (RFC 9112 §7.1). Otherwise the client uses HTTP/1.0,
// and closing the connection ends the body.
func Head(ctx *fasthttp.RequestCtx) (head []byte, chunked bool) {
	if c, ok := ctx.Conn().(*conn); ok {
		if r := c.admission.route; r != nil {
			r.setHeader(&ctx.Response.Header)
		}
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

// Unread reports whether the kernel's receive buffer holds bytes from the client.
func (t *Taken) Unread() bool { return t.c.hasUnread() }

// Close ends the connection at once.
func (t *Taken) Close() error { return t.c.end() }

// Finish closes the connection with a lingering close, so that the client can read
// everything that was written, even if it is still sending. within is how long Finish
// waits for the client to close too; 0 means 5 s. No other goroutine may read meanwhile.
// Finish returns net.ErrClosed if the connection is closed already.
func (t *Taken) Finish(within time.Duration) error {
	if !t.c.closed.CompareAndSwap(false, true) { // another goroutine may have called Reset
		return net.ErrClosed
	}
	t.c.linger, t.c.lingerFor = true, within
	return t.c.finishClose()
}

// Reset ends the connection and drops what the kernel has not sent yet.
func (t *Taken) Reset() error {
	if tcp, ok := t.c.raw.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // if it fails, Close sends the rest first
	}
	if t.c.tls != nil {
		_ = t.c.raw.Close() // tls.Conn.Close would wait to send its alert
	}
	return t.c.end()
}

// Watch calls gone, once, when the client closes the connection or its sending side.
// gone must not block. Watching needs no goroutine. stop must be called before the
// connection is closed. If the connection cannot be watched, gone is never called, and
// only a failed write shows that the client has left.
func (t *Taken) Watch(gone func()) (stop func()) { return t.c.watch(gone) }
