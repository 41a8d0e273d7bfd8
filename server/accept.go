package server

import (
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"time"
)

// maxAcceptDelay is the longest pause after a failed accept.
const maxAcceptDelay = time.Second

// listener wraps each accepted connection in a *conn before it returns the connection
// to fasthttp. It retries after temporary errors of accept, such as too many open
// files: fasthttp's server would stop at such an error.
type listener struct {
	net.Listener
	srv *Server
}

func (l *listener) Accept() (net.Conn, error) {
	for {
		nc, err := l.accept()
		if err != nil {
			return nil, err
		}
		c, err := l.srv.newConn(nc)
		if err == nil {
			return c, nil
		}
		l.srv.refuseConn(nc, err)
	}
}

// accept returns the next connection, or a permanent error.
func (l *listener) accept() (net.Conn, error) {
	delay := 5 * time.Millisecond
	for {
		nc, err := l.Listener.Accept()
		if err == nil {
			return nc, nil
		}
		// net/http.Server.Serve uses the same deprecated method; there is no other way.
		temporary, ok := errors.AsType[interface {
			error
			Temporary() bool
		}](err)
		if !ok || !temporary.Temporary() {
			return nil, err
		}
		l.srv.opts.Logger.Warn("accept failed", "error", err, "retry_in", delay)
		select {
		case <-time.After(delay):
		case <-l.srv.drainStarted:
		}
		delay = min(2*delay, maxAcceptDelay)
	}
}

// newConn wraps nc in a *conn and registers it with the connections that Run waits
// for. It returns errTooManyConns or errTooManyClientConns if nc exceeds a limit. The
// *conn is the outermost layer, above TLS.
func (s *Server) newConn(nc net.Conn) (*conn, error) {
	c := &conn{Conn: nc, raw: nc, srv: s, accepted: now(), origin: origin{peer: peerOf(nc)}}
	c.trusted = c.peer != netip.Addr{} && s.trusts(c.peer)
	if s.opts.TLS != nil {
		c.tls = tls.Server(nc, s.opts.TLS)
		c.Conn = c.tls
		c.setPhase(handshaking)
	}
	if s.opts.SlowRequest > 0 {
		c.timing = new(timing)
	}
	if err := s.conns.add(c); err != nil {
		return nil, err
	}
	s.opts.Meter.ConnOpened()
	return c, nil
}
