package routes

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/server"
	"github.com/galeserver/gale/uploads"
)

// inline holds the content types of artifacts that browsers may display. They save all
// others, so that an artifact cannot run scripts on this origin.
var inline = map[string]string{
	".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".gif": "image/gif", ".webp": "image/webp",
	".wav": "audio/wav", ".mp3": "audio/mpeg", ".opus": "audio/ogg", ".ogg": "audio/ogg", ".flac": "audio/flac",
	".txt": "text/plain; charset=utf-8", ".json": "application/json",
}

// artifact is GET /tasks/{id}/artifacts/{name}.
func (t *taskRoutes) artifact(ctx *fasthttp.RequestCtx) error {
	id, name := server.Param(ctx, "id"), server.Param(ctx, "name")
	f, err := t.artifacts.Open(context.Background(), id, name) // it is read after the handler has returned
	if errors.Is(err, fs.ErrNotExist) {
		return t.noArtifact(ctx, id, name)
	}
	if err != nil {
		return err
	}
	h := &ctx.Response.Header
	kind, show := inline[strings.ToLower(path.Ext(name))]
	if !show {
		kind = "application/octet-stream"
		h.Set(fasthttp.HeaderContentDisposition, attachment(name))
	}
	h.SetContentType(kind)
	h.Set(fasthttp.HeaderXContentTypeOptions, "nosniff")
	info := f.Info()
	v := fileValidator(info)
	// The policy of the console allows only pictures of this server.
	if r, ok := f.(uploads.Redirector); ok && !show && t.redirect > 0 && ctx.IsGet() && v.precondition(&ctx.Request.Header) == 0 {
		return errors.Join(redirectTo(ctx, r, t.redirect, name), f.Close())
	}
	return send(ctx, f, info.Size, v)
}

// noArtifact is the response to a request for an artifact that this server does not find.
func (t *taskRoutes) noArtifact(ctx context.Context, id, name string) error {
	if !jobs.ValidID(id) {
		return server.Fail(fasthttp.StatusNotFound, "no such artifact")
	}
	task, err := t.store.Get(ctx, id)
	switch {
	case errors.Is(err, jobs.ErrNotFound), err == nil && !slices.Contains(task.Artifacts, name):
		return server.Fail(fasthttp.StatusNotFound, "no such artifact")
	case err != nil:
		return err
	}
	return server.Fail(fasthttp.StatusNotFound,
		"the artifact is not on this machine: a worker on another one has stored it, or it was removed; servers and workers share artifacts with -files")
}
