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
	// sweepEvery is the interval of sweeps. The first sweep is at a random time within the
	// first interval, so that not all processes sweep at the same time.
	sweepEvery = time.Hour
	// sweepBatch is the number of directory entries that are read at a time.
	sweepBatch = 256
)

// Sweeper removes the artifacts of tasks that the store no longer has. Any number of
// sweepers may run on one folder.
type Sweeper struct {
	Artifacts *Folder
	Store     jobs.Reader
	// Keep is the time for which a subfolder is kept after its last change, even if the
	// store does not have its task. It should be at least the retention time of the store,
	// so that the files of another store's tasks are not removed at once. Default
	// driver.DefaultKeep, 7 days.
	Keep   time.Duration
	Logger *slog.Logger // required by Run
}

// Run sweeps once an hour until ctx ends, and returns nil. Errors are logged.
func (s *Sweeper) Run(ctx context.Context) error {
	for pause(ctx, rand.N(sweepEvery)); ctx.Err() == nil; pause(ctx, sweepEvery) {
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

// Sweep checks every subfolder once and returns the number of those it has removed. It
// removes a subfolder only if it is older than Keep and the store has no such task. An
// error of the store ends the sweep. Entries whose name is not a task id are kept.
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
			removable, err := s.removable(ctx, entry, old)
			if err == nil && removable {
				err = s.Artifacts.root.RemoveAll(entry.Name())
			}
			if err != nil {
				return removed, fmt.Errorf("sweep artifacts of %s: %w", entry.Name(), err)
			}
			if removable {
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

// removable reports whether the entry is a subfolder that was last changed before old and
// whose task the store does not have.
func (s *Sweeper) removable(ctx context.Context, entry fs.DirEntry, old time.Time) (bool, error) {
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

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
