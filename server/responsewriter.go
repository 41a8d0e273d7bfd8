package server

import (
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"
)

const (
	// streamBuffer is how many bytes of a body are buffered before they are sent.
	streamBuffer = 4 << 10
	// sniffLength is how many bytes http.DetectContentType uses.
	sniffLength = 512
)

// responseWriter is the http.ResponseWriter of an exchange.
type responseWriter struct{ x *exchange }

// Header returns the fields that WriteHeader will send.
func (w *responseWriter) Header() http.Header { return w.x.header }

// WriteHeader sets the status. Informational statuses are dropped, and so is any call
// after the first, as in net/http.
func (w *responseWriter) WriteHeader(status int) {
	w.x.mu.Lock()
	defer w.x.mu.Unlock()
	switch {
	case status < 100 || status > 999:
		panic(fmt.Sprintf("invalid WriteHeader code %d", status))
	case status == http.StatusSwitchingProtocols:
		panic("101 Switching Protocols needs http.Hijacker, which server.HTTP does not support")
	case status < 200:
		return
	}
	w.x.writeHeader(status)
}

// Write adds to the body.
func (w *responseWriter) Write(p []byte) (int, error) { return w.x.write(p) }

// WriteString adds to the body.
func (w *responseWriter) WriteString(s string) (int, error) { return w.x.write([]byte(s)) }

// Flush sends what was written so far.
func (w *responseWriter) Flush() { _ = w.FlushError() }

// FlushError is Flush for http.ResponseController. The error is that of the connection.
func (w *responseWriter) FlushError() error { return w.x.flush() }

// SetReadDeadline returns an error, since Options.ReadTimeout applies to every read.
func (*responseWriter) SetReadDeadline(time.Time) error {
	return fmt.Errorf("set read deadline: the server's ReadTimeout applies: %w", http.ErrNotSupported)
}

// SetWriteDeadline returns an error, since Options.WriteTimeout applies to every write.
func (*responseWriter) SetWriteDeadline(time.Time) error {
	return fmt.Errorf("set write deadline: the server's WriteTimeout applies: %w", http.ErrNotSupported)
}

// EnableFullDuplex returns an error, since the body of the request cannot be read after
// the response has begun.
func (*responseWriter) EnableFullDuplex() error {
	return fmt.Errorf("enable full duplex: the request body ends when the response begins: %w", http.ErrNotSupported)
}

// writeHeader sets the status and copies the header. Only the first call has an effect.
func (x *exchange) writeHeader(status int) {
	if x.status != 0 {
		return
	}
	x.status, x.sent = status, x.header.Clone()
	if x.sent == nil {
		x.sent = make(http.Header)
	}
	if n, err := strconv.ParseInt(strings.TrimSpace(x.sent.Get("Content-Length")), 10, 64); err == nil && n >= 0 {
		x.length = n
	}
}

// allowsBody reports whether a response with the status of x can have a body (RFC 9110
// §6.4.1).
func (x *exchange) allowsBody() bool {
	return x.status != http.StatusNoContent && x.status != http.StatusNotModified
}

// sendsBody reports whether the response with the status of x has a body for the method
// of the request.
func (x *exchange) sendsBody() bool { return x.allowsBody() && x.request.Method != http.MethodHead }

func (x *exchange) write(p []byte) (int, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.writeHeader(http.StatusOK)
	switch {
	case x.returned || !x.sendsBody() && x.flushed:
		return 0, errResponseOver
	case !x.allowsBody():
		return 0, http.ErrBodyNotAllowed
	case x.length >= 0 && x.written+int64(len(p)) > x.length:
		return 0, http.ErrContentLength
	}
	x.written += int64(len(p))
	if len(x.buffer)+len(p) > streamBuffer && x.sendsBody() {
		x.begin(p)
		if err := x.sendBuffer(false); err != nil {
			return 0, err
		}
	}
	switch {
	case len(p) > streamBuffer && x.sendsBody():
		if err := x.stream.send(p, false); err != nil {
			return 0, err
		}
		return len(p), nil
	case !x.sendsBody() && len(x.buffer) >= sniffLength: // enough to detect the Content-Type
		return len(p), nil
	}
	x.buffer = append(x.buffer, p...)
	return len(p), nil
}

// flush sends the head of the response, if that was not sent, and the buffer. A response
// without a body is sent when the handler returns: see HTTP.
func (x *exchange) flush() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.writeHeader(http.StatusOK)
	switch {
	case x.returned:
		return errResponseOver
	case x.request.Method == http.MethodHead:
		x.flushed = true
		x.cancel(nil)
		return nil
	case !x.allowsBody():
		return nil
	case !x.begun:
		x.flushed = true
	}
	x.begin(nil)
	return x.sendBuffer(true)
}

// begin starts sending the response as a stream. next is the part of the body that
// follows the buffer.
func (x *exchange) begin(next []byte) {
	if x.begun {
		return
	}
	x.begun = true
	x.sniff(next)
	kind, _, err := mime.ParseMediaType(x.sent.Get("Content-Type"))
	if err == nil && kind == EventStream {
		x.events.Store(true)
		if x.conn != nil && x.conn.srv.draining() { // drain may have been called before events was set
			x.drain()
		}
	}
	x.watchClient()
	close(x.ready)
}

// sniff sets a Content-Type that is missing, by the rules of http.ResponseWriter.
func (x *exchange) sniff(next []byte) {
	_, given := x.sent["Content-Type"]
	if given || x.sent.Get("Content-Encoding") != "" || len(x.buffer)+len(next) == 0 || !x.allowsBody() {
		return
	}
	data := x.buffer
	if len(data) < sniffLength {
		data = slices.Concat(data, next[:min(len(next), sniffLength-len(data))])
	}
	x.sent.Set("Content-Type", http.DetectContentType(data))
}

// sendBuffer passes the buffer to the connection.
func (x *exchange) sendBuffer(flush bool) error {
	if len(x.buffer) == 0 && !flush {
		return nil
	}
	err := x.stream.send(x.buffer, flush)
	x.buffer = x.buffer[:0]
	return err
}

// writeFields writes status and header into the response of ctx.
func (x *exchange) writeFields(ctx *fasthttp.RequestCtx) {
	if !x.begun {
		x.sniff(nil)
	}
	ctx.SetStatusCode(x.status)
	h := &ctx.Response.Header
	h.SetNoDefaultContentType(true)
	for name, values := range x.sent {
		switch {
		case !ValidField(name): // also drops names with http.TrailerPrefix
		case strings.EqualFold(name, fasthttp.HeaderConnection):
			if slices.ContainsFunc(values, func(value string) bool { return hasToken([]byte(value), "close") }) {
				ctx.SetConnectionClose()
			}
		case strings.EqualFold(name, fasthttp.HeaderContentLength), // see respond
			strings.EqualFold(name, fasthttp.HeaderTransferEncoding),
			strings.EqualFold(name, fasthttp.HeaderTrailer):
		default:
			writeField(h, name, values)
		}
	}
}

// inOneLine replaces the line breaks in the value of a field, as net/http does.
var inOneLine = strings.NewReplacer("\r", " ", "\n", " ")

// writeField replaces a field. It adds cookies and names in Vary to those that
// middleware has set.
func writeField(h *fasthttp.ResponseHeader, name string, values []string) {
	add := strings.EqualFold(name, fasthttp.HeaderSetCookie) || strings.EqualFold(name, fasthttp.HeaderVary)
	for _, value := range values {
		value = strings.TrimSpace(inOneLine.Replace(value))
		if add {
			h.Add(name, value)
		} else {
			h.Set(name, value)
		}
		add = true
	}
}
