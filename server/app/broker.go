package app

import (
	"context"
	"log/slog"
	"path/filepath"

	"gale/jobs"
	"gale/jobs/redisstream"
	"gale/jobs/sqlite"
	"gale/server/app/config"
)

// openTasks opens the store of tasks that -broker names.
func openTasks(ctx context.Context, c config.Config, log *slog.Logger) (jobs.Store, error) {
	if c.Broker != config.SQLite {
		return noStoreIf(redisstream.Open(ctx, c.Broker, redisstream.Options{Logger: log}))
	}
	return noStoreIf(sqlite.Open(filepath.Join(c.Data, "jobs.db"), sqlite.Options{Logger: log}))
}

// noStoreIf keeps a nil pointer from becoming a store that is not nil.
func noStoreIf[S jobs.Store](s S, err error) (jobs.Store, error) {
	if err != nil {
		return nil, err
	}
	return s, nil
}
