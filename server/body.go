package server

import (
	"bytes"
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"github.com/valyala/fasthttp"
)

const (
	// drainBytes and drainTime limit the drain of a body: after a handler that did not read
	// the body to its end, the server reads up to drainBytes for up to drainTime. If it
	// reaches the end of the body, the connection stays open for the next request.
	drainBytes = 256 << 10
	drainTime  = time.Second
)

// Errors of reading a body, with the status of their responses. After each of the first
// four the server closes the connection, because it does not know where the next request
// starts.
var (
	// ErrBodyTooLarge: the body is larger than the route's limit. 413.
	ErrBodyTooLarge = errors.New("request body is too large")
	// ErrBodyTruncated: the connection ended before the body did. 400.
	ErrBodyTruncated = errors.New("request body is cut off")
	// ErrBodyMalformed: the chunked coding is broken (RFC 9112 §7.1). 400.
	ErrBodyMalformed = errors.New("request body is malformed")
	// ErrBodyTimeout: no byte arrived for Options.ReadTimeout. 408.
	ErrBodyTimeout = errors.New("request body timed out")
	// ErrBodyClosed: the handler has returned, or a method of fasthttp has read the
	// body.
	ErrBodyClosed = errors.New("request body is closed")
)

// Body returns the body of the request. If the request has no body, the reader returns
// io.EOF at once. The body is streamed: each Read reads from the connection. Read
// returns io.EOF only when the body is complete; its other errors are ErrBodyTooLarge,
// ErrBodyTruncated, ErrBodyMalformed and ErrBodyTimeout. After any of these, every
// later Read returns the same error. A handler should return the error of Read, wrapped
// or not: the server then sends the right status.
//
// After the handler has returned, Read fails with ErrBodyClosed. Methods of fasthttp
// that read a body, such as PostBody, PostArgs, FormValue and MultipartForm, must not
// be used: the server closes the connection after such a handler, and with a chunked
// body the handler hangs until Options.ReadTimeout. Outside of a Server, in a unit test
// of a handler, Body reads ctx.PostBody.
func Body(ctx *fasthttp.RequestCtx) io.Reader {
	c, ok := ctx.Conn().(*conn)
	switch {
	case !ok:
		return bytes.NewReader(ctx.PostBody())
	case c.body == nil:
		return bytes.NewReader(nil)
	}
	return c.body
}

// ReadAll reads the complete body. The limit is that of the route, or Options.MaxBody if
// the route has none. The errors are those of Body's Read.
func ReadAll(ctx *fasthttp.RequestCtx) ([]byte, error) {
	r := Body(ctx)
	b, ok := r.(*body)
	if !ok {
		return io.ReadAll(r)
	}
	limit := b.conn.srv.opts.MaxBody
	if b.unlimited {
		r = io.LimitReader(b, limit+1)
	}
	data, err := io.ReadAll(r)
	if err == nil && b.unlimited && int64(len(data)) > limit {
		err = ErrBodyTooLarge
	}
	if err != nil {
		return nil, err
	}
	return data, nil
}

// BodyAborter returns a function that aborts reading the body of the request: a
// blocked Read fails with ErrBodyTruncated, and so does every later one. It is for a
// handler that reads from a slow client and must stop, for example at a deadline. abort
// may be called from any goroutine and more than once, but not after the handler has
// returned. The response is still sent; then the server closes the connection.
func BodyAborter(ctx *fasthttp.RequestCtx) (abort func()) {
	c, ok := ctx.Conn().(*conn)
	if !ok {
		return func() {}
	}
	return c.abort
}

// body is the body of one request. Body returns it.
type body struct {
	conn      *conn
	ctx       *fasthttp.RequestCtx
	raw       io.Reader      // stream of fasthttp
	chunked   *chunkedReader // decodes raw; nil if raw is the content itself
	left      int64          // bytes of content left, unless chunked
	unlimited bool           // the route has no limit
	waited    time.Duration  // time in Read, with Options.SlowRequest

	err      error      // first error of Read, returned by every later Read
	released bool       // the handler has returned
	mu       sync.Mutex // held by Read, because a goroutine of the handler may run longer than the handler
}

// openBody returns the body whose framing is f, or nil if the request has none. ok is
// false if preview has hidden a body from fasthttp, or if fasthttp and f disagree about
// the length. In both cases the connection must not be used for another request.
func openBody(ctx *fasthttp.RequestCtx, c *conn, f frame, limit int64) (b *body, ok bool) {
	h := &ctx.Request.Header
	length := h.ContentLength()
	if !f.hasBody() {
		return nil, length == 0 || length == lengthNone
	}
	b = &body{conn: c, ctx: ctx, raw: ctx.RequestBodyStream(), unlimited: limit < 0}
	switch {
	case f.length == lengthChunked && length == lengthRaw:
		h.SetContentLength(-1) // as the client sent it, for handlers
		if limit < 0 {
			limit = lengthRaw
		}
		b.chunked = &chunkedReader{src: b.raw, limit: limit}
		return b, true
	case f.length > 0 && int64(length) == f.length:
		b.left = f.length
		return b, true
	}
	return nil, false
}

// ownsStream reports whether fasthttp's stream still belongs to this body. After
// fasthttp has read the body itself, the stream may belong to another request.
func (b *body) ownsStream() bool { return b.ctx.RequestBodyStream() == b.raw }

func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.released {
		return 0, ErrBodyClosed
	}
	return b.read(p)
}

func (b *body) read(p []byte) (n int, err error) {
	if b.conn.timing != nil {
		defer func(begun time.Time) { b.waited += time.Since(begun) }(time.Now())
	}
	switch {
	case b.err != nil:
		return 0, b.err
	case !b.ownsStream():
		err = ErrBodyClosed
	case len(p) == 0:
		return 0, nil
	case b.chunked != nil:
		n, err = b.chunked.Read(p)
	case b.left == 0:
		err = io.EOF
	default:
		n, err = b.raw.Read(p[:min(int64(len(p)), b.left)])
		b.left -= int64(n)
		if errors.Is(err, io.EOF) {
			// fasthttp returns io.EOF at the end of the body, and also when the
			// connection ends before it.
			err = nil
			if n == 0 {
				err = io.ErrUnexpectedEOF
			}
		}
	}
	if n > 0 && err == nil {
		return n, nil
	}
	b.err = b.mapError(err)
	return n, b.err
}

// mapError returns the exported error for err, an error of the connection or of the
// chunked decoder.
func (b *body) mapError(err error) error {
	for _, known := range []error{io.EOF, ErrBodyTooLarge, ErrBodyMalformed, ErrBodyClosed} {
		if errors.Is(err, known) {
			return known
		}
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return ErrBodyTimeout
	}
	return ErrBodyTruncated
}

// release makes every further Read of the handler fail. It reports whether the body was
// read to its end. It interrupts a Read that is still blocked; after such an interrupt
// the connection cannot be used again, since it is not known how much was read.
func (b *body) release() (complete bool) {
	if !b.mu.TryLock() {
		b.conn.abort()
		b.mu.Lock()
		b.err = ErrBodyClosed
	}
	defer b.mu.Unlock()
	b.released = true
	return errors.Is(b.err, io.EOF) || b.err == nil && b.chunked == nil && b.left == 0
}

// drain reads the part of the body that the handler did not read, so that the server can
// read the next request. It reports whether it reached the end of the body within
// drainBytes and drainTime.
func (b *body) drain() bool {
	if b.err != nil || b.chunked == nil && b.left > drainBytes {
		return errors.Is(b.err, io.EOF)
	}
	b.conn.bodyBy = now().add(drainTime)
	// The extra byte makes Copy read the end of a body of exactly drainBytes. The error
	// of the copy is also in b.err.
	_, _ = io.Copy(io.Discard, io.LimitReader(readerFunc(b.read), drainBytes+1))
	b.conn.bodyBy = 0
	return errors.Is(b.err, io.EOF)
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
