package artifacts

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/galeserver/gale/internal/clockset"
	"github.com/galeserver/gale/internal/sleep"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
)

// sweepEvery is the interval of sweeps. The first sweep is at a random time within the
// first interval, so that not all processes sweep at the same time.
const sweepEvery = time.Hour

// Sweeper removes the artifacts of tasks that the store no longer has. Any number of
// sweepers may run on the same files.
type Sweeper struct {
	Artifacts Files
	Store     jobs.Reader
	// Keep is the time for which files are kept after their last change, even if the
	// store does not have their task. It should be at least the retention time of the store,
	// so that the files of another store's tasks are not removed at once. Default
	// driver.DefaultKeep, 7 days.
	Keep   time.Duration
	Logger *slog.Logger // required by Run

	clock clockset.Guard
}

// Run sweeps once an hour until ctx ends, and returns nil. Errors are logged.
func (s *Sweeper) Run(ctx context.Context) error {
	for sleep.For(ctx, rand.N(sweepEvery)); ctx.Err() == nil; sleep.For(ctx, sweepEvery) {
		n, err := s.Sweep(ctx)
		if err != nil && ctx.Err() == nil {
			s.Logger.Warn("cannot remove old artifacts", "error", err)
		}
		if n > 0 {
			s.Logger.Info("removed artifacts of tasks that the store no longer has", "tasks", n)
		}
	}
	return nil
}

// Sweep checks the files of every task once, and returns the number of tasks whose files it
// has removed. It removes them only if they are older than Keep and the store has no such
// task. An error of the store ends the sweep. Entries whose name is not a task id are kept.
func (s *Sweeper) Sweep(ctx context.Context) (removed int, err error) {
	if paused, _ := s.clock.Paused(time.Now()); paused {
		return 0, nil
	}
	return s.Artifacts.Expire(ctx, time.Now().Add(-s.keep()), func(id string) (bool, error) {
		_, err := s.Store.Get(ctx, id) // ends with ctx
		if errors.Is(err, jobs.ErrNotFound) {
			return true, nil
		}
		return false, err
	})
}

func (s *Sweeper) keep() time.Duration {
	if s.Keep > 0 {
		return s.Keep
	}
	return driver.DefaultKeep
}
