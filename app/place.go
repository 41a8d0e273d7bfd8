package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/galeserver/gale/app/internal/command"
	"github.com/galeserver/gale/app/internal/config"
	"github.com/galeserver/gale/app/internal/place"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/uploads/s3"
)

// placeOf returns the place where a configuration keeps uploaded files.
func placeOf(c config.Config) (place.Place, error) {
	if c.Files == "" {
		return place.Folder(c.UploadDir)
	}
	target, err := s3.Parse(c.Files)
	if err != nil {
		return place.Place{}, fmt.Errorf("-files: %w", err)
	}
	return place.Bucket(target.Bucket, target.Prefix), nil
}

// fileTasks returns the names of the tasks that are started for uploaded files and are in one of
// the queues, which the workers serve.
func fileTasks(a Application, c config.Config) (names []string, err error) {
	tasks, err := registry(a.tasks(), definitions(c.Commands, command.Env{}))
	if err != nil {
		return nil, err
	}
	started := []string{}
	if c.OnUpload != "" {
		started = append(started, c.OnUpload)
	}
	for _, t := range uploadTasks(a, c.Commands) {
		if t.Always {
			started = append(started, t.Name)
		}
	}
	for _, name := range started {
		d, err := tasks.Lookup(name)
		if err != nil {
			continue // -on-upload of a server with other tasks
		}
		if slices.Contains(c.Queues, cmp.Or(d.Queue, jobs.DefaultQueue)) && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names, nil
}

// sharesTasks reports whether the task store may be shared by several machines.
func sharesTasks(c config.Config) bool { return c.Broker != config.SQLite }

// checkPlace returns an error if the workers of a configuration would not find the files of their
// tasks, because the servers that share the task store keep them in another place.
func checkPlace(ctx context.Context, a Application, c config.Config, log *slog.Logger) (err error) {
	if !sharesTasks(c) {
		return nil
	}
	tasks, err := fileTasks(a, c)
	if err != nil || len(tasks) == 0 {
		return err
	}
	own, err := placeOf(c)
	if err != nil {
		return err
	}
	r, err := place.Open(c.Broker, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	return r.Check(ctx, own, tasks)
}

// announcePlace tells workers on other machines where a serving process keeps uploaded files,
// until ctx ends.
func announcePlace(c config.Config, process string, log *slog.Logger) runFunc {
	return withRegister(c, log, func(ctx context.Context, r *place.Register, own place.Place) error {
		return r.Announce(ctx, process, own)
	})
}

// watchPlace warns if the servers keep uploaded files in another place than a worker, until ctx
// ends.
func watchPlace(a Application, c config.Config, log *slog.Logger) runFunc {
	if tasks, err := fileTasks(a, c); err != nil || len(tasks) == 0 {
		return nothing
	}
	return withRegister(c, log, func(ctx context.Context, r *place.Register, own place.Place) error {
		return r.Watch(ctx, own)
	})
}

// withRegister returns a runFunc that calls fn if the task store may be shared.
func withRegister(c config.Config, log *slog.Logger, fn func(context.Context, *place.Register, place.Place) error) runFunc {
	if !sharesTasks(c) {
		return nothing
	}
	return func(ctx context.Context) error {
		own, err := placeOf(c)
		if err != nil {
			return err
		}
		r, err := place.Open(c.Broker, log)
		if err != nil {
			return err
		}
		return errors.Join(fn(ctx, r, own), r.Close())
	}
}

// nothing is a runFunc without work.
func nothing(context.Context) error { return nil }
