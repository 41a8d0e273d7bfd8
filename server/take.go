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
		// A Taken may live for days, so it does not keep c with the data of its requests.
		take(&Taken{Conn: c.Conn, srv: c.srv, origin: c.origin, buffered: readBuffered(c, buffered)})
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
