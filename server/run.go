package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"
)

// ErrGrace is wrapped by the error of Run if requests were still in flight when
// Options.Grace ran out.
var ErrGrace = errors.New("grace time ran out")

// Run serves connections from ln until ctx ends. Run owns ln. When ctx ends, Run drains:
// it closes ln at once (other processes may hold copies of the socket), finishes the
// requests in flight with Connection: close, and returns nil when the last connection is
// closed. An idle connection stays open for half a second, and a new one until five
// seconds after it was accepted, so that a request that was sent before the drain began
// still gets its response.
//
// After Options.Grace Run closes the remaining connections. If requests were in flight,
// it returns an error that wraps ErrGrace and contains their number; their handlers may
// still be running. If ln fails permanently, Run drains in the same way and returns that
// error. Run neither waits for hijacked connections nor closes them. It can be called once.
//
// fasthttp's own Shutdown is not used: it closes an idle connection on which a request
// is just arriving, and it ends ctx.Done of handlers that should finish.
func (s *Server) Run(ctx context.Context, ln net.Listener) error {
	if !s.started.CompareAndSwap(false, true) {
		return errors.New("run server: Run was already called")
	}
	// The goroutine of AfterFunc ends with startDrain, which the call below waits for.
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

// startDrain closes the listener and interrupts blocked reads. If another goroutine is
// doing that already, startDrain waits for it.
func (s *Server) startDrain(ln net.Listener) {
	s.drainOnce.Do(func() {
		close(s.drainStarted)
		_ = ln.Close() // it may be closed already
		s.conns.interruptReads()
	})
}

// drain waits at most Options.Grace until all connections are closed, and then closes
// the remaining ones.
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
