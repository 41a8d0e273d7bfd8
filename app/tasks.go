package app

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/galeserver/gale/app/internal/command"
	"github.com/galeserver/gale/app/internal/config"
	"github.com/galeserver/gale/app/internal/routes"
	"github.com/galeserver/gale/demo/inspect"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/uploads"
)

// registry holds the tasks of the application. files may be nil where tasks
// are only asked for, not run.
func registry(files inspect.Files, commands ...jobs.Definition) (*jobs.Registry, error) {
	return jobs.NewRegistry(append([]jobs.Definition{inspect.Task(files), longRunningTask}, commands...)...)
}

// commands are the tasks that -tasks names.
func commands(c config.Config, s *state) []jobs.Definition {
	return definitions(c.Commands, command.Env{Files: storedFiles{s.uploads, c.UploadDir}, Path: c.Path, Temp: s.temp})
}

func definitions(specs []command.Spec, env command.Env) []jobs.Definition {
	all := make([]jobs.Definition, len(specs))
	for i, spec := range specs {
		all[i] = command.Task(spec, env)
	}
	return all
}

// uploadTasks says which tasks are started for which uploaded files.
func uploadTasks(specs []command.Spec) map[string]routes.UploadTask {
	all := map[string]routes.UploadTask{inspect.Name: {Accepts: inspect.Accepts}}
	for name, accepts := range command.Uploads(specs) {
		all[name] = routes.UploadTask{Accepts: accepts, Always: true}
	}
	return all
}

// storedFiles gives commands the paths of what was uploaded.
type storedFiles struct {
	store *uploads.Store
	dir   string
}

// Path opens the file first: the store knows which names are files of its own.
func (s storedFiles) Path(directory, filename string) (string, error) {
	f, err := s.store.Open(directory, filename)
	if err != nil {
		return "", err
	}
	if err := f.Close(); err != nil {
		return "", fmt.Errorf("close file: %w", err)
	}
	dir, err := filepath.Abs(s.dir)
	if err != nil {
		return "", fmt.Errorf("find file: %w", err)
	}
	return filepath.Join(dir, filepath.FromSlash(directory), filename), nil
}

// taskNames are the names -on-upload may have.
func taskNames() []string {
	r, err := registry(nil)
	if err != nil {
		return nil // start says why
	}
	return r.Names()
}

// longRunningTask stands for anything that takes a while: five seconds, a
// second a step.
var longRunningTask = jobs.Definition{
	Name: "long_running_task",
	Args: []jobs.Arg{{Name: "data", Type: jobs.ArgString, Default: "example data"}},
	Handler: func(ctx context.Context, job *jobs.Job) error {
		var data string
		if err := job.Args(&data); err != nil {
			return err
		}
		const steps = 5
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for i := range steps {
			job.Progress(100*i/steps, "working")
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-tick.C:
			}
		}
		return job.Return("Processed " + data)
	},
}

// uploadedFiles lets tasks read what was uploaded.
type uploadedFiles struct{ store *uploads.Store }

func (u uploadedFiles) Open(directory, filename string) (io.ReadSeekCloser, error) {
	return u.store.Open(directory, filename)
}
