package routes

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"strings"
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
	artifacts *artifacts.Folder
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

// inline holds the content types of artifacts that browsers may display. They save all
// others, so that an artifact cannot run scripts on this origin.
var inline = map[string]string{
	".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".gif": "image/gif", ".webp": "image/webp",
	".wav": "audio/wav", ".mp3": "audio/mpeg", ".opus": "audio/ogg", ".ogg": "audio/ogg", ".flac": "audio/flac",
	".txt": "text/plain; charset=utf-8", ".json": "application/json",
}

// artifact is GET /tasks/{id}/artifacts/{name}.
func (t *taskRoutes) artifact(ctx *fasthttp.RequestCtx) error {
	name := server.Param(ctx, "name")
	f, err := t.artifacts.Open(server.Param(ctx, "id"), name)
	if errors.Is(err, fs.ErrNotExist) {
		return server.Fail(fasthttp.StatusNotFound, "no such artifact")
	}
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		_ = f.Close()
		return errors.Join(err, server.Fail(fasthttp.StatusNotFound, "no such artifact"))
	}
	h := &ctx.Response.Header
	kind, show := inline[strings.ToLower(path.Ext(name))]
	if !show {
		kind = "application/octet-stream"
		h.Set(fasthttp.HeaderContentDisposition, attachment(name))
	}
	h.SetContentType(kind)
	h.Set(fasthttp.HeaderXContentTypeOptions, "nosniff")
	return send(ctx, f, info.Size(), validatorOf(info.ModTime(), info.Size()))
}

// pause waits for d. If ctx is done first, it returns the cause.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
