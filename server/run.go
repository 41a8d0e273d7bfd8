package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"
)

// ErrGrace is wrapped by what Run returns when requests were still in flight at
// the end of Options.Grace.
var ErrGrace = errors.New("grace time ran out")

// Run serves connections from ln until ctx ends, and takes ln over. When ctx has
// ended it closes ln at once (other processes may hold copies of the socket),
// answers what is in flight, with Connection: close, and returns nil when the
// last connection is closed. A connection between requests gets half a second
// more, and a new one up to five, so that a request that was sent before its
// client could know is still answered.
//
// After Options.Grace Run closes what is left and returns an error that wraps
// ErrGrace and says how many requests were cut off; their handlers may still be
// running. If ln fails for good Run drains in the same way and returns that
// error. Hijacked connections are neither waited for nor closed. Run works once.
//
// fasthttp's own Shutdown is not used: it closes a connection between two
// requests under the request that is arriving, and ends ctx.Done for handlers
// that are to finish.
func (s *Server) Run(ctx context.Context, ln net.Listener) error {
	if !s.started.CompareAndSwap(false, true) {
		return errors.New("run server: it has run already")
	}
	// Its goroutine ends with leaveListener, which is waited for below.
	stop := context.AfterFunc(ctx, func() { s.startDrain(ln) })
	defer stop()

	if err := s.watcher.open(); err != nil {
		return fmt.Errorf("run server: %w", err)
	}
	defer s.watcher.close()
	err := s.fast.Serve(&listener{Listener: ln, srv: s})
	s.startDrain(ln)
	if err != nil {
		err = fmt.Errorf("accept connections: %w", err)
	}
	return errors.Join(err, s.drain())
}

// leaveListener begins the end: no new connections, and those that wait for a
// request learn of it. It returns when that is done, whoever did it.
func (s *Server) startDrain(ln net.Listener) {
	s.leaveOnce.Do(func() {
		close(s.drainStarted)
		_ = ln.Close() // that it is closed already would be no news
		s.conns.interruptReads()
	})
}

// drain waits for the connections, at most the grace time.
func (s *Server) drain() error {
	timer := time.NewTimer(s.opts.Grace)
	defer timer.Stop()
	select {
	case <-s.conns.wait():
		return nil
	case <-timer.C:
	}
	if n := s.conns.closeAll(); n > 0 {
		return fmt.Errorf("drain server: %w: %d requests cut off", ErrGrace, n)
	}
	return nil
}
