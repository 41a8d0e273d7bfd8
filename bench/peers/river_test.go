package peers

import (
	"context"
	"database/sql"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riversqlite"
	"github.com/riverqueue/river/rivermigrate"
	_ "modernc.org/sqlite" // the driver that Gale uses too

	"github.com/galeserver/gale/internal/redistest"
)

// riverDefault runs River as in the first example of its documentation. With the defaults of
// SQLite, a rollback journal and synchronous FULL, each commit is synced to disk. River's
// default is to fetch at most every 100 ms, up to as many tasks as there are free workers.
func riverDefault(b *testing.B, _ *redistest.Server, n int) float64 {
	return riverSQLite(b, n, "", &river.Config{})
}

// riverLikeGale runs River with the journal and the durability that Gale sets, WAL and
// synchronous FULL, and lets it fetch as often as it can.
func riverLikeGale(b *testing.B, _ *redistest.Server, n int) float64 {
	return riverSQLite(b, n, "?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)", &river.Config{FetchCooldown: river.FetchCooldownMin, FetchPollInterval: river.FetchPollIntervalMin})
}

type noopArgs struct{}

func (noopArgs) Kind() string { return "noop" }

func riverSQLite(b *testing.B, n int, pragmas string, cfg *river.Config) float64 {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(b.TempDir(), "river.sqlite3")+pragmas)
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1) // as the documentation of the driver advises
	driver := riversqlite.New(db)
	quiet := slog.New(slog.DiscardHandler)
	m, err := rivermigrate.New(driver, &rivermigrate.Config{Logger: quiet})
	if err != nil {
		b.Fatal(err)
	}
	if _, err := m.Migrate(b.Context(), rivermigrate.DirectionUp, nil); err != nil {
		b.Fatal(err)
	}
	c := newCount(n)
	workers := river.NewWorkers()
	river.AddWorker(workers, river.WorkFunc(func(context.Context, *river.Job[noopArgs]) error { c.one(); return nil }))
	cfg.Logger, cfg.Workers = quiet, workers
	cfg.Queues = map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: concurrency}}
	client, err := river.NewClient(driver, cfg)
	if err != nil {
		b.Fatal(err)
	}
	inParallel(b, n, func(int) error { _, err := client.Insert(b.Context(), noopArgs{}, nil); return err })
	began := time.Now()
	if err := client.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	rate := c.wait(b, n, began)
	if err := client.Stop(b.Context()); err != nil {
		b.Error(err)
	}
	return rate
}
