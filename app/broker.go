package app

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/galeserver/gale/app/internal/config"
	"github.com/galeserver/gale/app/internal/metrics"
	"github.com/galeserver/gale/jobs/driver"
	"github.com/galeserver/gale/jobs/meter"
	"github.com/galeserver/gale/jobs/redisstream"
	"github.com/galeserver/gale/jobs/sqlite"
)

// openTasks opens the store of tasks that -broker names. The meter counts tasks
// whose workers were lost.
func openTasks(ctx context.Context, c config.Config, meter meter.Meter, log *slog.Logger) (driver.Store, error) {
	return openTasksFor(ctx, c, redisstream.DefaultPatience, meter, log)
}

// openTasksFor is openTasks for a caller that waits so long for Redis.
func openTasksFor(ctx context.Context, c config.Config, patience time.Duration, meter meter.Meter, log *slog.Logger) (driver.Store, error) {
	if c.Broker != config.SQLite {
		return noStoreIf(redisstream.Open(ctx, c.Broker, redisstream.Options{Patience: patience, Meter: meter, Logger: log}))
	}
	return noStoreIf(sqlite.Open(taskFile(c), sqlite.Options{Meter: meter, Logger: log}))
}

// How long Redis may take where no client of the server waits.
const (
	lookPatience    = 5 * time.Second  // for reading figures
	commandPatience = 30 * time.Second // for server tasks, whose user can interrupt it
)

// taskFile is the file of the store without Redis.
func taskFile(c config.Config) string { return filepath.Join(c.Data, "jobs.db") }

// lookIntoTasks opens the store for somebody who only looks: it does not make
// one, and says nothing that those who work on it say too.
func lookIntoTasks(ctx context.Context, c config.Config) (metrics.Store, error) {
	if c.Broker == config.SQLite {
		if _, err := os.Stat(taskFile(c)); err != nil {
			return nil, err
		}
	}
	return openTasksFor(ctx, c, lookPatience, meter.NoMeter{}, slog.New(slog.DiscardHandler))
}

// noStoreIf keeps a nil pointer from becoming a store that is not nil.
func noStoreIf[S driver.Store](s S, err error) (driver.Store, error) {
	if err != nil {
		return nil, err
	}
	return s, nil
}
