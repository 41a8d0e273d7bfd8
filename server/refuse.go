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
	// maxRefusals is how many refused connections may linger at once; what comes
	// beyond is closed and may lose its answer.
	maxRefusals = 256
	// refusalTime is how long one of them may, and how long the head of its
	// request is waited for before that.
	refusalTime = time.Second
	// refusalBytes is how much one of them may send meanwhile.
	refusalBytes = 64 << 10
	// warnEvery is how often the log speaks of refused connections.
	logInterval = time.Second
)

// Why a connection is refused, as its client is told.
const (
	reasonBusy    = "too many connections, try again"
	reasonTooMany = "too many connections from this address"
)

// refusal makes the response to connections over a limit, once: a server at its
// limit has no time to lose. With anyOrigin the page of any origin may read it,
// since which one it is for is not known; it says nothing else.
func newRefusal(status int, reason string, anyOrigin bool) []byte {
	body := fmt.Sprintf(`{"code":%d,"reason":%q}`, status, reason)
	shared := ""
	if anyOrigin {
		shared = "Access-Control-Allow-Origin: *\r\nAccess-Control-Expose-Headers: Retry-After\r\n"
	}
	return fmt.Appendf(nil, "HTTP/1.1 %d %s\r\nServer: gale\r\nContent-Type: application/json\r\n"+
		"X-Content-Type-Options: nosniff\r\nRetry-After: 1\r\n%sConnection: close\r\nContent-Length: %d\r\n\r\n%s",
		status, http.StatusText(status), shared, len(body), body)
}

// refusedStream is the response to an EventSource, see ComeBack. It has nothing in
// it that a page of any origin may not see, and a browser that must hide it from
// the page closes the EventSource for good.
func retryResponse(reason string) []byte {
	body := RetryStream(reason)
	return fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nServer: gale\r\nContent-Type: %s\r\nX-Content-Type-Options: nosniff\r\n"+
		"Cache-Control: no-store\r\nAccess-Control-Allow-Origin: *\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", EventStream, len(body), body)
}

// refusalFor reads the head of the request that the client of a refused connection
// sends, and returns the response that makes this client come back: some take a
// status for final that others do not. answer is for all others, and for a client
// that sends nothing.
func (s *Server) refusalResponse(nc net.Conn, fallback []byte) []byte {
	var h fasthttp.RequestHeader
	if h.Read(bufio.NewReaderSize(nc, s.opts.MaxHeader)) != nil {
		return fallback
	}
	switch {
	case bytes.Contains(h.Peek(fasthttp.HeaderAccept), []byte(EventStream)):
		return retryResponse(reasonBusy)
	case len(h.Peek("Tus-Resumable")) > 0: // tus-js-client gives up at a 429
		return s.busyResponse
	}
	return fallback
}

// refuseConn says why a connection is refused and closes it, without keeping
// the goroutine that accepts waiting: another one waits for the request, and then
// for the client to read the response (see conn.Close). The meter counts what the
// limit is answered with in general.
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
	if !ok || s.opts.TLS != nil { // to a client that waits for a handshake the answer means nothing
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
		_, _ = io.CopyN(io.Discard, nc, refusalBytes) // how it ends is of no matter
	}()
}

// throttle keeps a log line from being written more than once in warnEvery.
type logLimiter struct {
	lastLine atomic.Int64 // Unix time in nanoseconds of the last line
	pending  atomic.Int64 // what happened since
}

// pass counts one more and returns 0, or, if it is time for a line, how many it
// stands for.
func (t *logLimiter) add(now time.Time) int64 {
	t.pending.Add(1)
	last := t.lastLine.Load()
	if now.UnixNano()-last < int64(logInterval) || !t.lastLine.CompareAndSwap(last, now.UnixNano()) {
		return 0
	}
	return t.pending.Swap(0)
}
