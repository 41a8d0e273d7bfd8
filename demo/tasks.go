package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/app"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/server"
)

// longRunningTask stands for slow work. It takes five steps of one second each.
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

// uploadedFiles gives the task inspect access to the uploaded files.
type uploadedFiles struct{}

func (uploadedFiles) Open(ctx context.Context, directory, filename string) (io.ReadSeekCloser, error) {
	return app.From(ctx).Uploads.Open(directory, filename)
}

// taskRoutes start longRunningTask.
type taskRoutes struct{ client *jobs.Client }

// start serves GET and POST /start-task.
func (t *taskRoutes) start(ctx *fasthttp.RequestCtx) error {
	data, given, err := server.Argument(ctx, "data")
	if err != nil {
		return err
	}
	n := jobs.NewTask{Name: longRunningTask.Name}
	if given {
		if n.Args, err = json.Marshal([]string{data}); err != nil {
			return fmt.Errorf("encode arguments: %w", err)
		}
	}
	task, _, err := t.client.Enqueue(ctx, n)
	if err != nil {
		return err
	}
	server.WriteText(ctx, fasthttp.StatusOK, "Task started: "+task.ID)
	return nil
}
