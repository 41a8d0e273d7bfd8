package routes

import (
	"context"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/app/internal/access"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/artifacts"
	"github.com/galeserver/gale/server"
)

const (
	// maxTask is the largest body of POST /tasks, in bytes: the largest arguments and the
	// other options.
	maxTask = jobs.MaxArgs + 64<<10
	// maxWait is the largest value of the parameters wait and s.
	maxWait = time.Minute
	// retryStore is the Retry-After of responses while the task store is not available.
	retryStore = 2 * time.Second
)

type taskRoutes struct {
	client    *jobs.Client
	store     jobs.Reader
	artifacts artifacts.Files
	redirect  time.Duration   // see Deps.FilesRedirect
	leaving   context.Context //nolint:containedctx // of the process, not of a request
	prefix    string          // path prefix of these routes
}

func (t *taskRoutes) routes(guard *access.Guard) []server.Route {
	get, post := fasthttp.MethodGet, fasthttp.MethodPost
	return []server.Route{
		{Method: post, Path: "/tasks", Admit: guard.Write, Handler: t.post, MaxBody: maxTask},
		{Method: get, Path: "/tasks/{id}", Admit: guard.Read, Handler: t.get},
		{Method: get, Path: "/tasks/{id}/log", Admit: guard.Read, Handler: t.log},
		{Method: get, Path: "/tasks/{id}/artifacts/{name}", Admit: guard.Read, Handler: t.artifact},
		{Method: get, Path: "/workflows/{id}", Admit: guard.Read, Handler: t.workflow},
	}
}

// get is GET /tasks/{id}. With the parameter wait, the response is sent when the task has
// ended or the time is up.
func (t *taskRoutes) get(ctx *fasthttp.RequestCtx) error {
	id := server.Param(ctx, "id")
	wait, err := server.QueryDuration(ctx, "wait", 0, maxWait)
	if err != nil {
		return err
	}
	task, err := t.store.Get(ctx, id)
	if err != nil {
		return err
	}
	if wait > 0 && !task.State.Final() {
		server.LongPoll(ctx)
		if task, err = t.await(task, wait); err != nil {
			return err
		}
	}
	return server.WriteJSON(ctx, fasthttp.StatusOK, task)
}

// await waits until a task has ended, the time is up, or this process begins to drain, and
// returns the task in its state at that moment.
func (t *taskRoutes) await(task *jobs.Task, wait time.Duration) (*jobs.Task, error) {
	ctx, cancel := context.WithTimeout(t.leaving, wait)
	defer cancel()
	for !task.State.Final() {
		next, err := t.store.Watch(ctx, task.ID, task.Version)
		if ctx.Err() != nil {
			return task, nil
		}
		if err != nil {
			return nil, err
		}
		task = next
	}
	return task, nil
}
