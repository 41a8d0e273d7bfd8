package routes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"mime"

	"github.com/valyala/fasthttp"

	"gale/jobs"
	"gale/pool"
	"gale/server"
	"gale/uploads"
)

type uploadRoutes struct {
	store  *uploads.Store
	client *jobs.Client
	task   string // started for each stored file; empty for none
	log    *slog.Logger
}

// post is POST /upload, a multipart form.
func (u *uploadRoutes) post(ctx *fasthttp.RequestCtx) error {
	kind, params, err := mime.ParseMediaType(string(ctx.Request.Header.ContentType()))
	if err != nil || kind != "multipart/form-data" {
		return answerUpload(ctx, uploads.Refuse(uploads.ErrNoFile))
	}
	answer, err := u.store.Multipart(ctx, server.Body(ctx), params["boundary"])
	switch {
	case errors.Is(err, uploads.ErrBody), errors.Is(err, pool.ErrFull), errors.Is(err, pool.ErrClosed):
		return err // about the connection or the server, not about the form
	case err != nil:
		u.log.Debug("upload refused", "error", err)
		return answerUpload(ctx, uploads.Refuse(err))
	}
	for i := range answer.Files {
		u.start(ctx, &answer.Files[i])
		u.startOthers(ctx, &answer.Files[i])
	}
	return answerUpload(ctx, answer)
}

// start starts the task for a stored file that it accepts. The file is there
// for good, so trouble with the task does not make its upload fail: the answer
// says that there is no task, and the log why.
func (u *uploadRoutes) start(ctx context.Context, f *uploads.File) {
	if u.task == "" || f.Code != uploads.CodeStored {
		return
	}
	d, err := u.client.Tasks.Lookup(u.task)
	if err == nil && (d.Accepts == nil || !d.Accepts(f.Filename)) {
		return
	}
	if err == nil {
		f.Task, err = u.enqueue(ctx, f)
	}
	if err != nil {
		u.log.Error("cannot start the task for an upload", "task", u.task, "directory", f.Directory, "filename", f.Filename, "error", err)
		f.Reason = "stored, but " + u.task + " could not be started"
	}
}

func (u *uploadRoutes) enqueue(ctx context.Context, f *uploads.File) (id string, err error) {
	args, err := json.Marshal([]string{f.Directory, f.Filename})
	if err != nil {
		return "", fmt.Errorf("encode arguments: %w", err)
	}
	task, _, err := u.client.Enqueue(ctx, jobs.NewTask{Name: u.task, Args: args})
	if err != nil {
		return "", err
	}
	return task.ID, nil
}

func answerUpload(ctx *fasthttp.RequestCtx, a uploads.Answer) error {
	return server.WriteJSON(ctx, a.Status(), a)
}
