package server

import (
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"time"
)

// maxAcceptDelay is the longest pause after an error of accept.
const maxAcceptDelay = time.Second

// listener hands fasthttp connections that are a *conn. It also bears what
// fasthttp would end the server for: errors of accept that pass, of which
// running out of file descriptors is the common one.
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

// accept returns the next connection, or an error that will not pass.
func (l *listener) accept() (net.Conn, error) {
	delay := 5 * time.Millisecond
	for {
		nc, err := l.Listener.Accept()
		if err == nil {
			return nc, nil
		}
		// net/http.Server.Serve uses the same deprecated sign; there is no other.
		temporary, ok := errors.AsType[interface {
			error
			Temporary() bool
		}](err)
		if !ok || !temporary.Temporary() {
			return nil, err
		}
		l.srv.opts.Logger.Warn("cannot accept a connection", "error", err, "retry_in", delay)
		select {
		case <-time.After(delay):
		case <-l.srv.drainStarted:
		}
		delay = min(2*delay, maxAcceptDelay)
	}
}

// adopt makes nc one of the connections that Run waits for, or says which limit
// that would break. Whatever nc is wrapped in, the *conn is outermost.
func (s *Server) newConn(nc net.Conn) (*conn, error) {
	c := &conn{Conn: nc, raw: nc, srv: s, accepted: time.Now(), peer: peerOf(nc)}
	c.trusted = c.peer != netip.Addr{} && s.trusts(c.peer)
	if s.opts.TLS != nil {
		c.tls = tls.Server(nc, s.opts.TLS)
		c.Conn = c.tls
		c.setPhase(handshaking)
	}
	if err := s.conns.add(c); err != nil {
		return nil, err
	}
	s.opts.Meter.ConnOpened()
	return c, nil
}
