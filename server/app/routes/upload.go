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
	"gale/server/uploadsocket"
	"gale/uploads"
)

type uploadRoutes struct {
	store   *uploads.Store
	client  *jobs.Client
	task    string   // started for each stored file; empty for none
	types   []string // what a urlencoded form may hold: .ext, or *
	sockets *uploadsocket.Server
	log     *slog.Logger
}

func newUploadRoutes(d Deps) *uploadRoutes {
	client := &jobs.Client{Store: d.Store, Tasks: d.Tasks}
	return &uploadRoutes{store: d.Uploads, client: client, task: d.OnUpload, types: d.UploadTypes, sockets: d.Sockets, log: d.Logger}
}

// post is POST /upload, a form of either kind.
func (u *uploadRoutes) post(ctx *fasthttp.RequestCtx) error {
	digests, err := announced(&ctx.Request.Header)
	if err != nil {
		return u.refuse(ctx, err)
	}
	kind, params, err := mime.ParseMediaType(string(ctx.Request.Header.ContentType()))
	switch {
	case err == nil && kind == "multipart/form-data":
		return u.multipart(ctx, digests, params["boundary"])
	case err == nil && kind == urlencoded:
		return u.urlencoded(ctx, digests)
	}
	return u.refuse(ctx, uploads.ErrNoFile)
}

// announced are the digests that a request's head announces for its body.
func announced(h *fasthttp.RequestHeader) (uploads.Digests, error) {
	var fields []string
	for _, name := range []string{"Content-Digest", "Repr-Digest"} {
		for _, value := range h.PeekAll(name) {
			fields = append(fields, string(value))
		}
	}
	return uploads.ParseDigests(fields...)
}

func (u *uploadRoutes) multipart(ctx *fasthttp.RequestCtx, digests uploads.Digests, boundary string) error {
	answer, err := u.store.Multipart(ctx, digests.Reader(server.Body(ctx)), boundary)
	if err != nil {
		return u.refuse(ctx, err)
	}
	for i := range answer.Files {
		u.start(ctx, &answer.Files[i])
	}
	return answerUpload(ctx, answer)
}

// refuse answers a request that err ended as a whole.
func (u *uploadRoutes) refuse(ctx *fasthttp.RequestCtx, err error) error {
	if errors.Is(err, uploads.ErrBody) || errors.Is(err, pool.ErrFull) || errors.Is(err, pool.ErrClosed) {
		return err // about the connection or the server, not about what was sent
	}
	answer := uploads.Refuse(err)
	level := slog.LevelDebug
	if answer.Code == uploads.CodeInternal || answer.Code == uploads.CodeNoSpace {
		level = slog.LevelError
	}
	u.log.Log(ctx, level, "upload refused", "code", answer.Code, "error", err)
	return answerUpload(ctx, answer)
}

// start starts the task for a stored file that it accepts. The file is there
// for good, so trouble with the task does not make its upload fail: the answer
// says that there is no task, and the log why.
func (u *uploadRoutes) start(ctx context.Context, f *uploads.File) { u.startAs(ctx, "", f) }

// startAs starts the task under an id, or a new one if that is empty. Under one id
// it starts once, however often it is called.
func (u *uploadRoutes) startAs(ctx context.Context, id string, f *uploads.File) {
	if u.task == "" || f.Code != uploads.CodeStored {
		return
	}
	d, err := u.client.Tasks.Lookup(u.task)
	if err == nil && (d.Accepts == nil || !d.Accepts(f.Filename)) {
		return
	}
	if err == nil {
		f.Task, err = u.enqueue(ctx, id, f)
	}
	if err != nil {
		u.log.Error("cannot start the task for an upload", "task", u.task, "directory", f.Directory, "filename", f.Filename, "error", err)
		f.Reason = "stored, but " + u.task + " could not be started"
	}
}

func (u *uploadRoutes) enqueue(ctx context.Context, id string, f *uploads.File) (string, error) {
	args, err := json.Marshal([]string{f.Directory, f.Filename})
	if err != nil {
		return "", fmt.Errorf("encode arguments: %w", err)
	}
	task, _, err := u.client.Enqueue(ctx, jobs.NewTask{ID: id, Name: u.task, Args: args})
	if err != nil {
		return "", err
	}
	return task.ID, nil
}

func answerUpload(ctx *fasthttp.RequestCtx, a uploads.Answer) error {
	return server.WriteJSON(ctx, a.Status(), a)
}
