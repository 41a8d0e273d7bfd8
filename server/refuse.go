package server

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

const (
	// maxRefusals is how many refused connections may linger at once; what comes
	// beyond is closed and may lose its answer.
	maxRefusals = 256
	// refusalTime is how long one of them may.
	refusalTime = time.Second
	// refusalBytes is how much one of them may send meanwhile.
	refusalBytes = 64 << 10
	// warnEvery is how often the log speaks of refused connections.
	warnEvery = time.Second
)

// refusal makes the response to connections over a limit, once: there is no
// request to be parsed first, and a server at its limit has no time to lose. With
// anyOrigin the page of any origin may read it, since which one it is for is not
// known; it says nothing else.
func refusal(status int, reason string, anyOrigin bool) []byte {
	body := fmt.Sprintf(`{"code":%d,"reason":%q}`, status, reason)
	shared := ""
	if anyOrigin {
		shared = "Access-Control-Allow-Origin: *\r\nAccess-Control-Expose-Headers: Retry-After\r\n"
	}
	return fmt.Appendf(nil, "HTTP/1.1 %d %s\r\nServer: gale\r\nContent-Type: application/json\r\n"+
		"X-Content-Type-Options: nosniff\r\nRetry-After: 1\r\n%sConnection: close\r\nContent-Length: %d\r\n\r\n%s",
		status, http.StatusText(status), shared, len(body), body)
}

// refuseConn says why a connection is refused and closes it, without keeping
// the goroutine that accepts waiting: a new socket has room for the answer, and
// another goroutine waits for the client to read it (see conn.Close).
func (s *Server) refuseConn(nc net.Conn, why error) {
	answer, status, over := s.busy, http.StatusServiceUnavailable, OfServer
	if errors.Is(why, errClientsConns) {
		answer, status, over = s.tooMany, http.StatusTooManyRequests, OfClient
	}
	s.opts.Meter.ConnRefused(over)
	s.opts.Meter.RequestDone(otherMethod, status, 0)
	if n := s.refused.pass(time.Now()); n > 0 {
		s.opts.Logger.Warn("connections refused", "reason", why, "client", peerOf(nc), "count", n)
	}
	half, ok := nc.(interface{ CloseWrite() error })
	if !ok || s.opts.TLS != nil { // to a client that waits for a handshake the answer means nothing
		_ = nc.Close()
		return
	}
	select {
	case s.lingers <- struct{}{}:
	default:
		_ = nc.Close()
		return
	}
	go func() { // ends with the client, or after refusalTime
		defer func() {
			_ = nc.Close()
			<-s.lingers
		}()
		if nc.SetDeadline(time.Now().Add(refusalTime)) != nil {
			return
		}
		if _, err := nc.Write(answer); err != nil || half.CloseWrite() != nil {
			return
		}
		_, _ = io.CopyN(io.Discard, nc, refusalBytes) // how it ends is of no matter
	}()
}

// throttle keeps a log line from being written more than once in warnEvery.
type throttle struct {
	last  atomic.Int64 // Unix time in nanoseconds of the last line
	count atomic.Int64 // what happened since
}

// pass counts one more and returns 0, or, if it is time for a line, how many it
// stands for.
func (t *throttle) pass(now time.Time) int64 {
	t.count.Add(1)
	last := t.last.Load()
	if now.UnixNano()-last < int64(warnEvery) || !t.last.CompareAndSwap(last, now.UnixNano()) {
		return 0
	}
	return t.count.Swap(0)
}
