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

// runChild runs the slot that the master started this process for.
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
		roleServe: serve, roleWorker: work, roleStore: runStateServer,
	}
	run, ok := roles[child.Role]
	if !ok {
		return fmt.Errorf("unknown role %q", child.Role)
	}
	redisdb.Log(log)
	err := child.Run(ctx, c.Grace, func(ctx context.Context) error { return run(ctx, child, e.app, c, log) })
	if err != nil {
		log.Error("process failed", "error", err)
		return reported{}
	}
	return nil
}

// reported is the error of a child that has logged its error. Its text is empty, so
// that Main prints nothing.
type reported struct{}

func (reported) Error() string { return "" }

// state is the durable state that serving processes and workers share.
type state struct {
	store     driver.Store
	artifacts *artifacts.Folder
	uploads   *uploads.Store
	temp      string // parent of the temporary folders of command tasks; empty: the system's
}

// openState opens the task store and the folders in -data.
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

// tempFolder returns a folder in data if the system's temporary folder is not writable,
// as in a container with a read-only file system. Otherwise it returns an empty string.
func tempFolder(data string) (string, error) {
	if unix.Access(os.TempDir(), unix.W_OK|unix.X_OK) == nil {
		return "", nil
	}
	dir, err := filepath.Abs(filepath.Join(data, "tmp"))
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err != nil {
		return "", fmt.Errorf("create folder for temporary files: %w", err)
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

// work runs a worker slot. When ctx is done, it takes no more tasks and waits for those
// that are running.
func work(ctx context.Context, child process, a Application, c config.Config, log *slog.Logger) (err error) {
	meter := metrics.NewTasks()
	figures := metrics.NewRegistry(metrics.Sources{Tasks: meter})
	defer startReporting(child, c, figures, log)() // runs last, with the final counts
	s, err := openState(ctx, c, uploads.Options{MaxFile: c.MaxUpload, Logger: log}, meter)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	services, err := openServices(ctx, c, s, figures, log)
	if err != nil {
		return err
	}
	tasks, err := registry(services.attach(a.tasks()), commands(c, s))
	if err != nil {
		return err
	}
	services.Tasks = &jobs.Client{Store: s.store, Tasks: tasks, Meter: meter}
	if err := command.Sweep(s.temp); err != nil { // must come before a lost task is started again
		log.Warn("cannot remove processes and temporary files that a killed worker left", "error", err)
	}
	w, err := machinery.New(s.store, tasks, machinery.Options{
		Owner: child.Owner(), Successor: child.Alone(), Queues: c.Queues, Weights: c.Weights, Concurrency: c.Concurrency,
		Grace: drainTime(c.Grace), Artifacts: s.artifacts, Meter: meter, Stopwatch: meter, Logger: log,
	})
	if err != nil {
		return err
	}
	periodic, err := schedules(a, c)
	if err != nil {
		return err
	}
	if err := child.Ready(); err != nil {
		log.Warn("cannot notify the master that the slot is ready", "error", err)
	}
	scheduler := schedule.New(services.Tasks, s.store, periodic, log)
	sweeper := &artifacts.Sweeper{Artifacts: s.artifacts, Store: s.store, Logger: log}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return scheduler.Run(ctx) }) // ends with ctx
	g.Go(func() error { return sweeper.Run(ctx) })   // ends with ctx
	g.Go(func() error { return w.Run(ctx) })         // ends with ctx and the running tasks, or when a handler is stuck
	return g.Wait()
}

// drainTime returns how long a child may drain. It is shorter than the grace period,
// after which the master kills the child, by a tenth of it, and at most by two seconds.
func drainTime(grace time.Duration) time.Duration {
	return grace - min(2*time.Second, grace/10)
}
