package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/app"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/server"
)

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

// uploaded lets the task inspect read what was uploaded.
type uploaded struct{}

func (uploaded) Open(ctx context.Context, directory, filename string) (io.ReadSeekCloser, error) {
	return app.From(ctx).Uploads.Open(directory, filename)
}

// taskRoutes start the long running task.
type taskRoutes struct{ client *jobs.Client }

// start is GET and POST /start-task.
func (t *taskRoutes) start(ctx *fasthttp.RequestCtx) error {
	data, given, err := argument(ctx, "data")
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
	if errors.Is(err, jobs.ErrArgs) { // too long, or not UTF-8
		return server.Fail(fasthttp.StatusBadRequest, err.Error())
	}
	if err != nil {
		return err
	}
	server.WriteText(ctx, fasthttp.StatusOK, "Task started: "+task.ID)
	return nil
}

// argument finds a parameter in the query or in a urlencoded body, as Tornado's
// get_argument does; the last one counts.
func argument(ctx *fasthttp.RequestCtx, name string) (value string, given bool, err error) {
	body, err := server.ReadAll(ctx)
	if err != nil {
		return "", false, err
	}
	var form fasthttp.Args
	kind, _, _ := bytes.Cut(ctx.Request.Header.ContentType(), []byte(";"))
	if strings.EqualFold(string(bytes.TrimSpace(kind)), "application/x-www-form-urlencoded") {
		form.ParseBytes(body)
	}
	if err := server.CheckArgs(&form, "form field"); err != nil {
		return "", false, server.Fail(fasthttp.StatusBadRequest, err.Error())
	}
	for _, args := range []*fasthttp.Args{ctx.QueryArgs(), &form} {
		for k, v := range args.All() {
			if string(k) == name {
				value, given = string(v), true
			}
		}
	}
	return value, given, nil
}
