package tus

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/galeserver/gale/pool"
)

// sweepInterval is the time between two sweeps. It is shorter if Options.Expiry or
// Options.Retention is short.
const sweepInterval = time.Minute

// Run sweeps the uploads until ctx ends. A sweep discards expired uploads, publishes
// complete ones whose process was killed, and removes the state of uploads that ended
// longer than Options.Retention ago. Only one of the processes sweeps at a time. Run
// returns nil.
func (s *Server) Run(ctx context.Context) error {
	every := time.NewTicker(max(min(sweepInterval, s.opts.Expiry/4, s.opts.Retention/4), 100*time.Millisecond))
	defer every.Stop()
	for {
		err := s.sweep(ctx)
		if err != nil && ctx.Err() == nil && !errors.Is(err, pool.ErrClosed) {
			s.log.ErrorContext(ctx, "sweep of unfinished uploads failed, will retry", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-every.C:
		}
	}
}

// sweep visits each upload once, unless another process is sweeping.
func (s *Server) sweep(ctx context.Context) error {
	retention := s.opts.Retention
	paused, set := s.clock.Paused(time.Now())
	if set {
		s.log.WarnContext(ctx, "the clock was set forward: unfinished uploads do not expire for an hour")
	}
	if paused {
		retention = math.MaxInt64
	}
	return s.place.Sweep(ctx, retention, func(held Held, state State) error {
		e := &entry{server: s, held: held, State: state}
		switch {
		case !e.Due(time.Now()):
			return nil
		case e.complete() && !e.Partial():
			return e.finish(ctx, nil)
		case paused:
			return nil
		}
		return e.discard(ctx, "expired")
	})
}
