package app

import (
	"context"
	"fmt"
	"net"
	"os"
	"syscall"

	"github.com/galeserver/gale/prefork"
)

func (s *single) status() (status prefork.Status) {
	s.mu.Lock()
	status.ReloadFailed, status.Reloads, status.RefusedReloads = s.failure, s.reloads, s.refused
	s.mu.Unlock()
	status.Reloading, status.Stopping = s.replacing.Load() > 0, s.stopping.Load()
	for _, p := range s.allParts() {
		status.Slots = append(status.Slots, p.figures().SlotStatus)
	}
	return status
}

// Status implements supervisor.
func (s *single) Status(context.Context) (prefork.Status, error) { return s.status(), nil }

// Stats implements supervisor.
func (s *single) Stats(context.Context) (o prefork.Stats, err error) {
	s.mu.Lock()
	o.Reloads, o.RefusedReloads, o.ReloadFailed = s.reloads, s.refused, s.failure
	s.mu.Unlock()
	for _, p := range s.allParts() {
		o.Slots = append(o.Slots, p.figures())
	}
	return o, nil
}

// Reload implements supervisor.
func (s *single) Reload(ctx context.Context) error { return s.request(ctx, syscall.SIGHUP) }

// Stop implements supervisor.
func (s *single) Stop(ctx context.Context) error { return s.request(ctx, syscall.SIGTERM) }

// request makes run handle a signal.
func (s *single) request(ctx context.Context, what os.Signal) error {
	if s.stopping.Load() {
		return prefork.ErrStopping
	}
	select {
	case s.control <- what:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Scale implements supervisor.
func (*single) Scale(context.Context, map[string]int) error {
	return fmt.Errorf("%w: -single is one process; start the server without it", prefork.ErrScale)
}

// Dial implements supervisor.
func (s *single) Dial(ctx context.Context, slot string) (net.Conn, error) {
	for _, p := range s.allParts() {
		if p.name != slot {
			continue
		}
		p.mu.Lock()
		current := p.current
		p.mu.Unlock()
		if current != nil {
			return current.profiles.dial(ctx)
		}
	}
	return nil, prefork.ErrNoProcess
}

// ListenPersistent implements supervisor.
func (*single) ListenPersistent(ctx context.Context, network, address string) (net.Listener, error) {
	return new(net.ListenConfig).Listen(ctx, network, address)
}

// Resumed implements supervisor. It is false: a reload does not execute a new master.
func (*single) Resumed() bool { return false }
