package server

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
)

const (
	// maxRefusals is how many refused connections may get a response at the same time.
	// Further ones are closed immediately, without a response.
	maxRefusals = 256
	// refusalTime is the limit for reading the head of a refused connection, and then
	// for the client to read the response.
	refusalTime = time.Second
	// refusalBytes is how much a refused client may send meanwhile.
	refusalBytes = 64 << 10
	// logInterval is the shortest interval between log lines about refused
	// connections.
	logInterval = time.Second
)

// Reasons in the responses to refused connections.
const (
	reasonBusy    = "too many connections, try again"
	reasonTooMany = "too many connections from this address"
)

// newRefusal returns the response to connections over a limit. It is made once,
// since a server at its limit must do little work for each refusal. With anyOrigin pages
// of every origin may read it: the origin of the request is unknown, and the response
// contains no data.
func newRefusal(status int, reason string, anyOrigin bool, common *commonFields) []byte {
	body := fmt.Sprintf(`{"code":%d,"reason":%q}`, status, reason)
	shared := ""
	if anyOrigin {
		shared = "Access-Control-Allow-Origin: *\r\nAccess-Control-Expose-Headers: Retry-After\r\n"
	}
	return fmt.Appendf(nil, "HTTP/1.1 %d %s\r\nServer: gale\r\nContent-Type: application/json\r\n"+
		"%sRetry-After: 1\r\n%sConnection: close\r\nContent-Length: %d\r\n\r\n%s",
		status, http.StatusText(status), common.lines(), shared, len(body), body)
}

// retryResponse is the response for an EventSource, see RetryStream. A page of any origin
// may read it, because it contains no data. If the page must not read it, the browser closes
// the EventSource and does not reconnect.
func retryResponse(reason string, common *commonFields) []byte {
	body := RetryStream(reason)
	return fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nServer: gale\r\nContent-Type: %s\r\n%s"+
		"Cache-Control: no-store\r\nAccess-Control-Allow-Origin: *\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", EventStream, common.lines(), len(body), body)
}

// refusalResponse reads the head of the request on a refused connection and returns
// a response after which this kind of client retries: an EventSource and tus-js-client
// give up after some statuses. It returns fallback for all other clients, and for those
// that send nothing.
func (s *Server) refusalResponse(nc net.Conn, fallback []byte) []byte {
	var h fasthttp.RequestHeader
	if h.Read(bufio.NewReaderSize(nc, s.opts.MaxHeader)) != nil {
		return fallback
	}
	switch {
	case bytes.Contains(h.Peek(fasthttp.HeaderAccept), []byte(EventStream)):
		return retryResponse(reasonBusy, &s.common)
	case len(h.Peek("Tus-Resumable")) > 0: // tus-js-client does not retry after 429
		return s.busyResponse
	}
	return fallback
}

// refuseConn responds to a connection over a limit and closes it. It does not block
// the accepting goroutine: another goroutine reads the request, and then waits until the
// client has read the response (see conn.Close). The meter always counts 503 or 429,
// even if the client gets another response.
func (s *Server) refuseConn(nc net.Conn, why error) {
	response, status, over := s.busyResponse, http.StatusServiceUnavailable, LimitTotal
	if errors.Is(why, errTooManyClientConns) {
		response, status, over = s.tooManyResponse, http.StatusTooManyRequests, LimitPerClient
	}
	s.opts.Meter.ConnRefused(over)
	s.opts.Meter.RequestDone(otherMethod, status, 0)
	if n := s.refusedLog.add(time.Now()); n > 0 {
		s.opts.Logger.Warn("connections refused", "reason", why, "client", peerOf(nc), "count", n)
	}
	half, ok := nc.(interface{ CloseWrite() error })
	if !ok || s.opts.TLS != nil { // before the TLS handshake a client cannot read a response
		_ = nc.Close()
		return
	}
	select {
	case s.lingerSlots <- struct{}{}:
	default:
		_ = nc.Close()
		return
	}
	go func() { // ends with the client, or after twice refusalTime
		defer func() {
			_ = nc.Close()
			<-s.lingerSlots
		}()
		if nc.SetDeadline(time.Now().Add(refusalTime)) != nil {
			return
		}
		response := s.refusalResponse(nc, response)
		if nc.SetDeadline(time.Now().Add(refusalTime)) != nil {
			return
		}
		if _, err := nc.Write(response); err != nil || half.CloseWrite() != nil {
			return
		}
		_, _ = io.CopyN(io.Discard, nc, refusalBytes) // an error means that the client has closed
	}()
}

// logLimiter limits a log line to one per logInterval.
type logLimiter struct {
	lastLine atomic.Int64 // nanoseconds from clockStart to the last line; 0: none
	pending  atomic.Int64 // events since that line
}

// add counts an event. It returns 0, or the number of events to log if a line is due.
func (t *logLimiter) add(now time.Time) int64 {
	t.pending.Add(1)
	last, at := t.lastLine.Load(), int64(now.Sub(clockStart)) // by the monotonic clock, because the wall clock may be set back
	if last != 0 && at-last < int64(logInterval) || !t.lastLine.CompareAndSwap(last, at) {
		return 0
	}
	return t.pending.Swap(0)
}
