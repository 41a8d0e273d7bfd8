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

// openTasks opens the task store that -broker names. The meter counts the tasks that
// were lost with their worker.
func openTasks(ctx context.Context, c config.Config, meter meter.Meter, log *slog.Logger) (driver.Store, error) {
	return openTasksFor(ctx, c, redisstream.DefaultPatience, meter, log)
}

// openTasksFor is like openTasks. Calls to Redis fail after patience.
func openTasksFor(ctx context.Context, c config.Config, patience time.Duration, meter meter.Meter, log *slog.Logger) (driver.Store, error) {
	if c.Broker != config.SQLite {
		return asStore(redisstream.Open(ctx, c.Broker, redisstream.Options{Patience: patience, Meter: meter, Logger: log}))
	}
	return asStore(sqlite.Open(taskFile(c), sqlite.Options{Meter: meter, Logger: log}))
}

// checkTasks reports whether the SQLite file of the tasks can be opened by this version. The
// master calls it before it listens, because it would start a process that fails again and
// again. Redis is not checked: it may respond later.
func checkTasks(c config.Config) error {
	if c.Broker != config.SQLite {
		return nil
	}
	return sqlite.Check(taskFile(c))
}

// Timeouts of Redis calls that no client of the server waits for.
const (
	metricsPatience = 5 * time.Second  // the admin endpoint's metrics
	commandPatience = 30 * time.Second // the command "tasks", which the user can interrupt
)

// taskFile returns the path of the SQLite database.
func taskFile(c config.Config) string { return filepath.Join(c.Data, "jobs.db") }

// openTasksForMetrics opens the task store for reading its figures. It does not create
// a store, and it logs nothing, since the other processes log the same errors.
func openTasksForMetrics(ctx context.Context, c config.Config) (metrics.Store, error) {
	if c.Broker == config.SQLite {
		if _, err := os.Stat(taskFile(c)); err != nil {
			return nil, err
		}
	}
	return openTasksFor(ctx, c, metricsPatience, meter.NoMeter{}, slog.New(slog.DiscardHandler))
}

// asStore returns a nil interface on an error, and not an interface that holds a nil
// pointer.
func asStore[S driver.Store](s S, err error) (driver.Store, error) {
	if err != nil {
		return nil, err
	}
	return s, nil
}
