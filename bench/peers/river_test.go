package peers

import (
	"context"
	"database/sql"
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riversqlite"
	"github.com/riverqueue/river/rivermigrate"
	_ "modernc.org/sqlite" // the driver that Gale uses too

	"github.com/galeserver/gale/internal/redistest"
)

// riverDefault runs River as in the first example of its documentation. With the defaults of
// SQLite, a rollback journal and synchronous FULL, each commit is synced to disk. River's
// default is to fetch at most every 100 ms, up to as many tasks as there are free workers.
func riverDefault(b *testing.B, _ *redistest.Server, n int) result {
	return riverSQLite(b, n, "", riverDefaults())
}

func riverDefaults() *river.Config { return &river.Config{} }

// riverLikeGale runs River with the journal and the durability that Gale sets, WAL and
// synchronous FULL, and lets it fetch as often as it can.
func riverLikeGale(b *testing.B, _ *redistest.Server, n int) result {
	return riverSQLite(b, n, galePragmas, riverAtOnce())
}

// galePragmas set the journal and the durability of Gale.
const galePragmas = "?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)"

func riverAtOnce() *river.Config {
	return &river.Config{FetchCooldown: river.FetchCooldownMin, FetchPollInterval: river.FetchPollIntervalMin}
}

type noopArgs struct {
	At int64 `json:"at,omitempty"` // scheduled time, in BenchmarkLatency
}

func (noopArgs) Kind() string { return "noop" }

func riverSQLite(b *testing.B, n int, pragmas string, cfg *river.Config) result {
	c := newCount(n)
	path := filepath.Join(b.TempDir(), "river.sqlite3")
	client, closed, err := riverClient(b.Context(), path+pragmas, cfg, func(*river.Job[noopArgs]) { c.one() })
	if err != nil {
		b.Fatal(err)
	}
	defer closed() //nolint:errcheck // the file is not used again
	inParallel(b, n, func(int) error { _, err := client.Insert(b.Context(), noopArgs{}, nil); return err })
	c.begin(b, nil)
	if err := client.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	r := c.wait(b, n)
	if err := client.Stop(b.Context()); err != nil {
		b.Error(err)
	}
	return r
}

// riverClient opens the file at path, which may end with pragmas.
func riverClient(ctx context.Context, path string, cfg *river.Config, run func(*river.Job[noopArgs])) (client *river.Client[*sql.Tx], closed func() error, err error) {
	db, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		return nil, nil, err
	}
	db.SetMaxOpenConns(1) // as the documentation of the driver advises
	driver := riversqlite.New(db)
	quiet := slog.New(slog.DiscardHandler)
	m, err := rivermigrate.New(driver, &rivermigrate.Config{Logger: quiet})
	if err != nil {
		return nil, nil, err
	}
	if _, err := m.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return nil, nil, err
	}
	workers := river.NewWorkers()
	river.AddWorker(workers, river.WorkFunc(func(_ context.Context, j *river.Job[noopArgs]) error { run(j); return nil }))
	cfg.Logger, cfg.Workers = quiet, workers
	cfg.Queues = map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: concurrency}}
	client, err = river.NewClient(driver, cfg)
	return client, db.Close, err
}
