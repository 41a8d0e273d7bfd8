package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/galeserver/gale/app/internal/config"
	"github.com/galeserver/gale/app/internal/logtail"
	"github.com/galeserver/gale/internal/redisdb"
	"github.com/galeserver/gale/jobs/artifacts"
	"github.com/galeserver/gale/jobs/driver"
	"github.com/galeserver/gale/jobs/meter"
	"github.com/galeserver/gale/prefork"
	"github.com/galeserver/gale/uploads"
	"github.com/galeserver/gale/uploads/quota"
	"github.com/galeserver/gale/uploads/s3"
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
	output := &tailWriter{out: e.stderr}
	output.keep(logtail.New(child.SharedMemory()))
	log := newLogger(c, output).With("slot", child.Slot(), "pid", os.Getpid())
	roles := map[string]roleWork{
		roleServe: serve, roleWorker: work, roleStore: runStateServer,
	}
	run, ok := roles[child.Role]
	if !ok {
		run = runProgram // which refuses a role that is not a worker program
	}
	if child.Role == roleStore { // not with -single, where the process serves requests too
		runtime.GOMAXPROCS(1) // a lock serializes the commands of the state server anyway; idle, it wakes fewer threads
	}
	redisdb.SetLogger(log)
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
	artifacts artifacts.Files
	uploads   *uploads.Store
	quotas    *quota.Ledger // nil without quotas
	bucket    *s3.Bucket    // object storage of uploads, or nil
	temp      string        // parent of the temporary folders of command tasks; empty: the system's
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
	return s, s.openFiles(ctx, c, o)
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
	if s.quotas != nil {
		err = errors.Join(err, s.quotas.Close())
	}
	if s.artifacts != nil {
		err = errors.Join(err, s.artifacts.Close())
	}
	if s.store != nil {
		err = errors.Join(err, s.store.Close())
	}
	return err
}

// drainTime returns how long a child may drain. It is shorter than the grace period,
// after which the master kills the child, by a tenth of it, and at most by two seconds.
func drainTime(grace time.Duration) time.Duration {
	return grace - min(2*time.Second, grace/10)
}
