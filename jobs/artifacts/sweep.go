package artifacts

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
)

const (
	// sweepEvery is how often a worker looks for artifacts of tasks that are
	// gone, the first time within as long of its start.
	sweepEvery = time.Hour
	// sweepBatch is how many names of the folder are read at once.
	sweepBatch = 256
)

// Sweeper removes the artifacts of tasks that the store has forgotten. Any
// number may run on one folder.
type Sweeper struct {
	Artifacts *Folder
	Store     jobs.Reader
	// Keep is how long a folder stays in which nothing has changed, whatever the
	// store says: no shorter than tasks are kept there, so that files of tasks
	// that another store knows are not taken for forgotten at once. Default
	// DefaultKeep.
	Keep   time.Duration
	Logger *slog.Logger
}

// Run sweeps once an hour until ctx ends, and returns nil.
func (s *Sweeper) Run(ctx context.Context) error {
	for pause(ctx, rand.N(sweepEvery)); ctx.Err() == nil; pause(ctx, sweepEvery) {
		n, err := s.Sweep(ctx)
		if err != nil && ctx.Err() == nil {
			s.Logger.Warn("cannot remove old artifacts", "error", err)
		}
		if n > 0 {
			s.Logger.Info("artifacts of tasks that are gone were removed", "tasks", n)
		}
	}
	return nil
}

// Sweep looks at every folder once and returns how many it has removed. A folder
// goes only if it is old and the store says that there is no such task; a store
// that does not answer ends the sweep. What is not a task's folder stays.
func (s *Sweeper) Sweep(ctx context.Context) (removed int, err error) {
	old := time.Now().Add(-s.keep())
	dir, err := s.Artifacts.root.Open(".")
	if err != nil {
		return 0, fmt.Errorf("sweep artifacts: %w", err)
	}
	defer dir.Close() //nolint:errcheck // read only
	for {
		entries, readErr := dir.ReadDir(sweepBatch)
		for _, entry := range entries {
			gone, err := s.gone(ctx, entry, old)
			if err == nil && gone {
				err = s.Artifacts.root.RemoveAll(entry.Name())
			}
			if err != nil {
				return removed, fmt.Errorf("sweep artifacts of %s: %w", entry.Name(), err)
			}
			if gone {
				removed++
			}
		}
		if readErr != nil || len(entries) == 0 {
			return removed, nil
		}
	}
}

func (s *Sweeper) keep() time.Duration {
	if s.Keep > 0 {
		return s.Keep
	}
	return driver.DefaultKeep
}

// gone reports whether an entry is the old folder of a task that is not there.
func (s *Sweeper) gone(ctx context.Context, entry fs.DirEntry, old time.Time) (bool, error) {
	if !entry.IsDir() || !jobs.ValidID(entry.Name()) {
		return false, nil
	}
	info, err := entry.Info()
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.ModTime().After(old) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	_, err = s.Store.Get(ctx, entry.Name()) // ends with ctx
	if errors.Is(err, jobs.ErrNotFound) {
		return true, nil
	}
	return false, err
}

// sweepPause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
