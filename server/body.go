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
	// drainBytes and drainTime bound how much of a body that its handler left
	// unread is read for the sake of keeping the connection.
	drainBytes = 256 << 10
	drainTime  = time.Second
)

// What reading a body can fail with. After any of the first four the connection
// ends, since nobody can tell where the next request would begin.
var (
	// ErrBodyTooLarge: the body is larger than the route's limit. 413.
	ErrBodyTooLarge = errors.New("request body is too large")
	// ErrBodyTruncated: the connection ended before the body did. 400.
	ErrBodyTruncated = errors.New("request body is cut off")
	// ErrBodyMalformed: the chunked coding is broken (RFC 9112 §7.1). 400.
	ErrBodyMalformed = errors.New("request body is malformed")
	// ErrBodyTimeout: nothing came for Options.ReadTimeout. 408.
	ErrBodyTimeout = errors.New("request body did not come in time")
	// ErrBodyClosed: the handler has returned, or something of fasthttp's has
	// taken the body.
	ErrBodyClosed = errors.New("request body is no longer there")
)

// Body returns the body of the request that ctx is about; for one that has none
// a reader at its end. It streams: what is read here is read from the connection
// now. Errors are ErrBodyTooLarge, ErrBodyTruncated, ErrBodyMalformed and
// ErrBodyTimeout; they and io.EOF stay. io.EOF means that the body is whole. A
// handler returns the error as it is to have it answered.
//
// The reader lives until the handler returns, ErrBodyClosed is what it says
// then. PostBody, PostArgs, FormValue, MultipartForm and all else of fasthttp
// that reads a body must not be used: a handler that does loses the connection,
// and with a chunked body hangs until ReadTimeout. Outside of a Server, in a
// handler's unit test, Body reads ctx.PostBody.
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

// ReadAll reads the whole body, at most the route's limit, and at most
// Options.MaxBody where the route has none. Errors are those of Body.
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

// Cutter returns a function that cuts the body of the request that ctx is about
// short: a Read that waits fails with ErrBodyTruncated, and so do those after it.
// It is for a handler that learns, while it waits for a client that hangs, that it
// must not go on. The function may be called from any goroutine, more than once,
// but not after the handler has returned. The answer is still sent; then the
// connection ends.
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
	raw       io.Reader      // fasthttp's stream
	chunked   *chunkedReader // decodes raw, or nil: then raw is content of
	left      int64          // more bytes
	unlimited bool           // the route sets no limit

	err      error      // sticky
	released bool       // the handler has returned
	mu       sync.Mutex // held by Read: a handler may leave a goroutine behind that reads
}

// openBody returns the body whose framing is f, or nil if there is none to read.
// ok is false if there is one but fasthttp was not given it (see preview): then
// the connection must not be used for another request.
func openBody(ctx *fasthttp.RequestCtx, c *conn, f frame, limit int64) (b *body, ok bool) {
	h := &ctx.Request.Header
	length := h.ContentLength()
	if !f.hasBody() {
		return nil, length == 0 || length == lengthNone
	}
	b = &body{conn: c, ctx: ctx, raw: ctx.RequestBodyStream(), unlimited: limit < 0}
	switch {
	case f.length == lengthChunked && length == lengthRaw:
		h.SetContentLength(-1) // what the client sent, for handlers that look
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

// intact reports whether fasthttp's stream is still this body's. If something of
// fasthttp has read the body, the stream belongs to another request by now.
func (b *body) ownsStream() bool { return b.ctx.RequestBodyStream() == b.raw }

// Read reads the body.
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
			// fasthttp says so at the end, and also when the connection ended
			// before it.
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

// fault names an error of the source.
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

// take ends the handler's time with the body and reports whether it has been
// read to its end. A Read that is still under way is cut short, and with it the
// connection: its bytes may have gone anywhere.
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

// drain reads what the handler left, so that the next request can be read, and
// reports whether that worked out within drainBytes and drainTime.
func (b *body) drain() bool {
	if b.err != nil || b.chunked == nil && b.left > drainBytes {
		return errors.Is(b.err, io.EOF)
	}
	b.conn.bodyBy = time.Now().Add(drainTime)
	// One byte more than may be left, to read the end itself too. The error of
	// the copy is the one that stays in b.
	_, _ = io.Copy(io.Discard, io.LimitReader(readerFunc(b.read), drainBytes+1))
	b.conn.bodyBy = time.Time{}
	return errors.Is(b.err, io.EOF)
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
