package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/galeserver/gale/app/internal/command"
	"github.com/galeserver/gale/app/internal/config"
	"github.com/galeserver/gale/app/internal/metrics"
	"github.com/galeserver/gale/internal/redisdb"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/artifacts"
	"github.com/galeserver/gale/jobs/driver"
	"github.com/galeserver/gale/jobs/machinery"
	"github.com/galeserver/gale/jobs/meter"
	"github.com/galeserver/gale/jobs/schedule"
	"github.com/galeserver/gale/prefork"
	"github.com/galeserver/gale/uploads"
)

// runChild does the work of a slot.
func runChild(ctx context.Context, child *prefork.Child, e env) error {
	var c config.Config
	if err := json.Unmarshal(child.Config, &c); err != nil {
		return fmt.Errorf("decode configuration: %w", err)
	}
	if err := e.program.Apply(c.Own); err != nil {
		return err
	}
	log := newLogger(c, e.stderr).With("slot", child.Slot(), "pid", os.Getpid())
	roles := map[string]roleWork{
		roleServe: serve, roleWorker: work, roleStore: keepStore,
	}
	run, ok := roles[child.Role]
	if !ok {
		return fmt.Errorf("unknown role %q", child.Role)
	}
	redisdb.SetLogger(log)
	err := child.Run(ctx, c.Grace, func(ctx context.Context) error { return run(ctx, child, e.app, c, log) })
	if err != nil {
		log.Error("child ends", "error", err)
		return reported{}
	}
	return nil
}

// reported ends a child whose log has the reason already: it says nothing more.
type reported struct{}

func (reported) Error() string { return "" }

// state is what serving children and workers share on disk.
type state struct {
	store     driver.Store
	artifacts *artifacts.Folder
	uploads   *uploads.Store
	temp      string // where commands get their folders; empty: where all do
}

// openState opens the folders and the store of tasks below -data.
func openState(ctx context.Context, c config.Config, o uploads.Options, meter meter.Meter) (s *state, err error) {
	s = &state{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if err := os.MkdirAll(c.Data, 0o700); err != nil {
		return s, fmt.Errorf("open data folder: %w", err)
	}
	if s.temp, err = tempFolder(c.Data); err != nil {
		return s, err
	}
	if s.store, err = openTasks(ctx, c, meter, o.Logger); err != nil {
		return s, err
	}
	if s.artifacts, err = artifacts.Open(filepath.Join(c.Data, "artifacts")); err != nil {
		return s, err
	}
	s.uploads, err = uploads.Open(c.UploadDir, o)
	return s, err
}

// tempFolder is a folder in data where the system's cannot be written, as in a
// container of which only data can be.
func tempFolder(data string) (string, error) {
	if unix.Access(os.TempDir(), unix.W_OK|unix.X_OK) == nil {
		return "", nil
	}
	dir, err := filepath.Abs(filepath.Join(data, "tmp"))
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err != nil {
		return "", fmt.Errorf("make a folder for temporary files: %w", err)
	}
	return dir, nil
}

func (s *state) close() (err error) {
	if s.uploads != nil {
		err = s.uploads.Close()
	}
	if s.artifacts != nil {
		err = errors.Join(err, s.artifacts.Close())
	}
	if s.store != nil {
		err = errors.Join(err, s.store.Close())
	}
	return err
}

// work is the work of a worker slot: tasks until ctx ends, then those that
// are under way.
func work(ctx context.Context, child process, a Application, c config.Config, log *slog.Logger) (err error) {
	counted := metrics.NewTasks()
	figures := metrics.NewRegistry(metrics.Sources{Tasks: counted})
	defer observe(child, c, figures, log)() // the last to end
	s, err := openState(ctx, c, uploads.Options{MaxFile: c.MaxUpload, Logger: log}, counted)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	services, err := openServices(ctx, c, s, figures, log)
	if err != nil {
		return err
	}
	tasks, err := registry(services.reaching(a.tasks()), commands(c, s))
	if err != nil {
		return err
	}
	services.Tasks = &jobs.Client{Store: s.store, Tasks: tasks, Meter: counted}
	if err := command.Sweep(s.temp); err != nil { // before a task that was lost begins anew
		log.Warn("what a killed worker left of its commands is still there", "error", err)
	}
	w, err := machinery.New(s.store, tasks, machinery.Options{
		Owner: child.Owner(), Successor: child.OnlyProcess(), Queues: c.Queues, Weights: c.Weights, Concurrency: c.Concurrency,
		Grace: lessThan(c.Grace), Artifacts: s.artifacts, Meter: counted, Stopwatch: counted, Logger: log,
	})
	if err != nil {
		return err
	}
	periodic, err := schedules(a, c)
	if err != nil {
		return err
	}
	if err := child.Ready(); err != nil {
		log.Warn("cannot tell the master", "error", err)
	}
	scheduler := schedule.New(services.Tasks, s.store, periodic, log)
	sweeper := &artifacts.Sweeper{Artifacts: s.artifacts, Store: s.store, Logger: log}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return scheduler.Run(ctx) }) // ends with ctx
	g.Go(func() error { return sweeper.Run(ctx) })   // ends with ctx
	g.Go(func() error { return w.Run(ctx) })         // ends with ctx, and what is under way; or with a handler that is stuck
	return g.Wait()
}

// lessThan leaves a child time to put things away before the master's patience
// ends: two seconds, or a tenth of a short grace time.
func lessThan(grace time.Duration) time.Duration {
	return grace - min(2*time.Second, grace/10)
}
