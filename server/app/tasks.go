package app

import (
	"context"
	"io"
	"time"

	"gale/jobs"
	"gale/server/app/inspect"
	"gale/uploads"
)

// registry holds the tasks of the application. files may be nil where tasks
// are only asked for, not run.
func registry(files inspect.Files) (*jobs.Registry, error) {
	return jobs.NewRegistry(inspect.Task(files), longRunningTask)
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
	Args: []jobs.Arg{{Name: "data", Type: jobs.String, Default: "example data"}},
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
