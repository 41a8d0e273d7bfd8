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
	// drainBytes and drainTime limit how much of a body is read after a handler that
	// left it unread, in order to keep the connection.
	drainBytes = 256 << 10
	drainTime  = time.Second
)

// Errors of reading a body. After each of the first four the connection ends, since the
// start of the next request is not known.
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

// Body returns the body of the request; without a body it returns a reader at its end.
// It streams: a Read reads from the connection. Its errors are ErrBodyTooLarge,
// ErrBodyTruncated, ErrBodyMalformed and ErrBodyTimeout. They are sticky, as is
// io.EOF, which means that the body is complete. A handler returns the error unchanged
// to get the right response.
//
// After the handler has returned, Read fails with ErrBodyClosed. Methods of fasthttp
// that read a body, such as PostBody, PostArgs, FormValue and MultipartForm, must not
// be used: the connection ends after such a handler, and with a chunked body the
// handler hangs until ReadTimeout. Outside of a Server, in a unit test of a handler,
// Body reads ctx.PostBody.
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

// ReadAll reads the whole body, up to the route's limit. If the route has no limit,
// Options.MaxBody is the limit. Errors are those of Body.
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
// handler that waits for a slow client and must stop for another reason. abort may be
// called from any goroutine and more than once, but not after the handler has
// returned. The response is still sent; then the connection ends.
func BodyAborter(ctx *fasthttp.RequestCtx) (abort func()) {
	c, ok := ctx.Conn().(*conn)
	if !ok {
		return func() {}
	}
	return c.abort
}

// body is the guarded body of one request.
type body struct {
	conn      *conn
	ctx       *fasthttp.RequestCtx
	raw       io.Reader      // stream of fasthttp
	chunked   *chunkedReader // decodes raw; nil if raw is the content itself
	left      int64          // bytes of content left, unless chunked
	unlimited bool           // the route has no limit

	err      error      // sticky
	released bool       // the handler has returned
	mu       sync.Mutex // held by Read: a goroutine of the handler may still read after it
}

// openBody returns the body whose framing is f, or nil if the request has none. ok is
// false if there is a body that was withheld from fasthttp (see preview): then the
// connection must not be used for another request.
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

// mapError returns the exported error for an error of the source.
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

// release takes the body from the handler and reports whether it was read to its end.
// It interrupts a Read that is still blocked. The connection cannot be used after
// that, since it is not known how much was read.
func (b *body) release() (whole bool) {
	if !b.mu.TryLock() {
		b.conn.abort()
		b.mu.Lock()
		b.err = ErrBodyClosed
	}
	defer b.mu.Unlock()
	b.released = true
	return errors.Is(b.err, io.EOF) || b.err == nil && b.chunked == nil && b.left == 0
}

// drain reads what the handler left unread, so that the next request can be read. It
// reports whether that succeeded within drainBytes and drainTime.
func (b *body) drain() bool {
	if b.err != nil || b.chunked == nil && b.left > drainBytes {
		return errors.Is(b.err, io.EOF)
	}
	b.conn.bodyBy = time.Now().Add(drainTime)
	// One byte more than the limit, in order to read the end of the body too. The error
	// is in b.
	_, _ = io.Copy(io.Discard, io.LimitReader(readerFunc(b.read), drainBytes+1))
	b.conn.bodyBy = time.Time{}
	return errors.Is(b.err, io.EOF)
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
