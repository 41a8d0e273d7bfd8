package server

import (
	"errors"
	"net"
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
	delay := 5 * time.Millisecond
	for {
		nc, err := l.Listener.Accept()
		if err == nil {
			return l.srv.adopt(nc), nil
		}
		// net/http.Server.Serve uses the same deprecated sign; there is no other.
		passing, ok := errors.AsType[interface {
			error
			Temporary() bool
		}](err)
		if !ok || !passing.Temporary() {
			return nil, err
		}
		l.srv.opts.Logger.Warn("cannot accept a connection", "error", err, "retry_in", delay)
		select {
		case <-time.After(delay):
		case <-l.srv.leaving:
		}
		delay = min(2*delay, maxAcceptDelay)
	}
}

// adopt makes nc one of the connections that Run waits for.
func (s *Server) adopt(nc net.Conn) *conn {
	c := &conn{Conn: nc, srv: s, accepted: time.Now()}
	s.conns.add(c)
	s.opts.Meter.ConnOpened()
	return c
}
