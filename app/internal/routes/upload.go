package routes

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/app/internal/access"
	"github.com/galeserver/gale/pool"
	"github.com/galeserver/gale/server"
	"github.com/galeserver/gale/server/uploadsocket"
	"github.com/galeserver/gale/uploads"
)

type uploadRoutes struct {
	store    *uploads.Store
	tasks    *UploadStarter
	types    []string // allowed filename endings of a urlencoded form, or *
	maxFile  int64    // size limit of a file in bytes
	sockets  *uploadsocket.Server
	events   *UploadEvents
	redirect time.Duration // see Deps.FilesRedirect
	log      *slog.Logger
}

func newUploadRoutes(d Deps) *uploadRoutes {
	return &uploadRoutes{
		store: d.Uploads, tasks: d.UploadStarter, types: d.UploadTypes, maxFile: d.MaxUpload,
		redirect: d.FilesRedirect, sockets: d.Sockets, log: d.Logger, events: d.Events,
	}
}

func (u *uploadRoutes) routes(guard *access.Guard, admit func(*fasthttp.RequestHeader) (any, error)) []server.Route {
	get, post, put, remove := fasthttp.MethodGet, fasthttp.MethodPost, fasthttp.MethodPut, fasthttp.MethodDelete
	return []server.Route{
		// The file store limits each file and the whole form.
		{Method: post, Path: "/upload", Admit: admit, Handler: u.post, MaxBody: -1},
		{Method: get, Path: "/upload", Admit: access.WithToken(admit), Handler: u.socket},
		{Method: remove, Path: "/upload", Admit: guard.Write, Handler: u.remove},
		{Method: put, Path: "/upload/{path:*}", Admit: admit, Handler: u.put, MaxBody: u.maxFile},
		{Method: get, Path: "/upload/{path:*}", Admit: guard.Read, Handler: u.get},
	}
}

// post is POST /upload with a multipart or urlencoded form.
func (u *uploadRoutes) post(ctx *fasthttp.RequestCtx) error {
	f, err := u.events.follow(ctx, ctx.Request.Header.ContentLength())
	if err != nil {
		return err
	}
	result, err := u.form(ctx, f)
	if err != nil {
		f.end(u.tasks.response(uploads.ErrorResponse(err)))
		return u.refuse(ctx, err)
	}
	f.end(u.tasks.response(result))
	return u.respond(ctx, result)
}

func (u *uploadRoutes) form(ctx *fasthttp.RequestCtx, f *followed) (uploads.Response, error) {
	digests, err := announced(&ctx.Request.Header)
	if err != nil {
		return uploads.Response{}, err
	}
	given := string(ctx.Request.Header.ContentType())
	if given == "" {
		return uploads.Response{}, uploads.WithReason(uploads.ErrNoFile, "the request has no Content-Type: send "+uploads.KindMultipart)
	}
	kind, boundary, err := uploads.ParseContentType(given)
	switch {
	case err != nil:
		return uploads.Response{}, err
	case kind == uploads.KindMultipart:
		return u.store.MultipartFrom(ctx, senderOf(ctx), digests.Reader(f.reader(server.Body(ctx))), boundary)
	case kind == uploads.KindURLEncoded:
		return u.urlencoded(ctx, digests)
	}
	return uploads.Response{}, uploads.WithReason(uploads.ErrNoFile, fmt.Sprintf("the Content-Type is %s, not %s", kind, uploads.KindMultipart))
}

// senderOf returns the sender of a request.
func senderOf(ctx *fasthttp.RequestCtx) uploads.Sender {
	id, _ := server.Admitted(ctx).(*access.Identity)
	if id == nil {
		return uploads.Sender{}
	}
	return uploads.Sender{Subject: id.Subject, Scopes: id.Scopes, Admin: id.Admin}
}

// announced returns the digests of the body that the request's header contains.
func announced(h *fasthttp.RequestHeader) (uploads.Digests, error) {
	var fields []string
	for _, name := range []string{"Content-Digest", "Repr-Digest"} {
		for _, value := range h.PeekAll(name) {
			fields = append(fields, string(value))
		}
	}
	return uploads.ParseDigests(fields...)
}

// refuse responds to a request that failed as a whole.
func (u *uploadRoutes) refuse(ctx *fasthttp.RequestCtx, err error) error {
	if errors.Is(err, uploads.ErrUnavailable) || errors.Is(err, uploads.ErrUndecided) || uploads.IsOutOfFiles(err) {
		u.log.ErrorContext(ctx, "upload failed", "error", err)
		return err
	}
	if errors.Is(err, uploads.ErrBody) || errors.Is(err, pool.ErrFull) || errors.Is(err, pool.ErrClosed) {
		return err // an error of the connection or the server, not of the request
	}
	result := uploads.ErrorResponse(err)
	level := slog.LevelDebug
	if result.Code == uploads.CodeInternal || result.Code == uploads.CodeNoSpace {
		level = slog.LevelError
	}
	u.log.Log(ctx, level, "upload refused", "code", result.Code, "error", err)
	return u.respond(ctx, result)
}

func (u *uploadRoutes) respond(ctx *fasthttp.RequestCtx, a uploads.Response) error {
	return server.WriteJSON(ctx, a.Status(), u.tasks.response(a))
}
