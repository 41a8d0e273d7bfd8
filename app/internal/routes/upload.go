package routes

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/pool"
	"github.com/galeserver/gale/server"
	"github.com/galeserver/gale/server/uploadsocket"
	"github.com/galeserver/gale/uploads"
)

type uploadRoutes struct {
	store   *uploads.Store
	client  *jobs.Client
	task    string // started for each stored file; empty for none
	rules   map[string]UploadTask
	types   []string // what a urlencoded form may hold: .ext, or *
	sockets *uploadsocket.Server
	events  *UploadEvents
	log     *slog.Logger
}

func newUploadRoutes(d Deps) *uploadRoutes {
	return &uploadRoutes{
		store: d.Uploads, client: &jobs.Client{Store: d.Store, Tasks: d.Tasks, Meter: d.TaskMeter}, task: d.OnUpload, rules: d.UploadTasks, types: d.UploadTypes,
		sockets: d.Sockets, log: d.Logger, events: d.Events,
	}
}

// post is POST /upload, a form of either kind.
func (u *uploadRoutes) post(ctx *fasthttp.RequestCtx) error {
	f, err := u.events.follow(ctx, ctx.Request.Header.ContentLength())
	if err != nil {
		return err
	}
	answer, err := u.form(ctx, f)
	if err != nil {
		f.end(uploads.Refuse(err))
		return u.refuse(ctx, err)
	}
	f.end(answer)
	return answerUpload(ctx, answer)
}

func (u *uploadRoutes) form(ctx *fasthttp.RequestCtx, f *followed) (uploads.Answer, error) {
	digests, err := announced(&ctx.Request.Header)
	if err != nil {
		return uploads.Answer{}, err
	}
	given := string(ctx.Request.Header.ContentType())
	if given == "" {
		return uploads.Answer{}, uploads.Because(uploads.ErrNoFile, "the request has no Content-Type: send "+uploads.KindMultipart)
	}
	kind, boundary, err := uploads.ParseContentType(given)
	switch {
	case err != nil:
		return uploads.Answer{}, err
	case kind == uploads.KindMultipart:
		return u.multipart(ctx, digests.Reader(f.reader(server.Body(ctx))), boundary)
	case kind == uploads.KindURLEncoded:
		return u.urlencoded(ctx, digests)
	}
	return uploads.Answer{}, uploads.Because(uploads.ErrNoFile, fmt.Sprintf("the Content-Type is %s, not %s", kind, uploads.KindMultipart))
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

func (u *uploadRoutes) multipart(ctx context.Context, body io.Reader, boundary string) (uploads.Answer, error) {
	answer, err := u.store.Multipart(ctx, body, boundary)
	if err != nil {
		return uploads.Answer{}, err
	}
	for i := range answer.Files {
		u.start(ctx, &answer.Files[i])
	}
	return answer, nil
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

func answerUpload(ctx *fasthttp.RequestCtx, a uploads.Answer) error {
	return server.WriteJSON(ctx, a.Status(), a)
}
