package routes

import (
	"context"
	"errors"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/app/internal/access"
	"github.com/galeserver/gale/server"
	"github.com/galeserver/gale/uploads"
	"github.com/galeserver/gale/uploads/tus"
)

// Stored returns what tus.Options calls for a file that came by tus: it starts the
// task for the file and notifies the watchers of the upload. The task's id is made of
// the upload's, so that one upload starts one task, however often its server is killed
// on the way. Of d it needs the tasks, Events and Logger.
func Stored(d Deps) func(ctx context.Context, id string, f *uploads.File) {
	u := newUploadRoutes(d)
	return func(ctx context.Context, id string, f *uploads.File) {
		u.startAs(ctx, "upload-"+id, f)
		answer := uploads.NewAnswer(*f)
		u.events.note(uploadEvent{Upload: id, Received: f.Size, Total: f.Size, Answer: &answer})
	}
}

// resumable answers what is below /tus/.
type resumable struct{ server *tus.Server }

// resumableRoutes are the routes of the tus protocol. They are told apart by the
// protocol, not here: the method of a POST may be in a field of its head, and so a
// POST needs what any of them needs.
func resumableRoutes(s *tus.Server, guard *access.Guard) (all []server.Route) {
	r := resumable{s}
	header := [][2]string{{"Tus-Resumable", tus.Version}}
	for _, method := range []string{fasthttp.MethodGet, fasthttp.MethodHead, fasthttp.MethodPost, fasthttp.MethodPatch, fasthttp.MethodDelete, fasthttp.MethodOptions} {
		for _, path := range []string{tus.DefaultBase, tus.DefaultBase + "{id}"} {
			route := server.Route{Method: method, Path: path, Admit: guard.Write, Header: header, Handler: r.serve, MaxBody: -1} // the protocol knows how much may come
			switch method {
			case fasthttp.MethodOptions:
				route.Admit = nil // what there is, and a browser asks without the token
			case fasthttp.MethodGet:
				route.Admit = guard.Read
			}
			all = append(all, route)
		}
	}
	return all
}

func (r resumable) serve(ctx *fasthttp.RequestCtx) error {
	h := &ctx.Request.Header
	length := int64(h.ContentLength())
	if length < -1 { // fasthttp's word for none
		length = 0
	}
	answer, err := r.server.Serve(ctx, &tus.Request{
		Method: string(ctx.Method()), ID: server.Param(ctx, "id"),
		Header: func(name string) string { return server.List(h, name) },
		Length: length, Body: server.Body(ctx), Cut: server.Cutter(ctx),
	})
	if errors.Is(err, server.ErrBodyTimeout) {
		// Not 408: what came is kept, and clients of the protocol take every 4xx
		// but 409 and 423 for the end of the upload (tus-js-client, #shouldRetry).
		return &server.Error{Status: fasthttp.StatusServiceUnavailable, Reason: server.ErrBodyTimeout.Error() + ", go on at the offset", RetryAfter: time.Second}
	}
	if err != nil {
		return err
	}
	ctx.SetStatusCode(answer.Status)
	for _, field := range answer.Header {
		if field[0] == fasthttp.HeaderLocation {
			field[1] = server.Location(ctx, field[1])
		}
		ctx.Response.Header.Set(field[0], field[1])
	}
	if answer.Body == nil {
		return nil
	}
	return server.WriteJSON(ctx, answer.Status, answer.Body)
}

// Fields of the requests and responses of tus, for pages of other origins: see
// server.Options.
var (
	TusRequestFields = []string{
		"Tus-Resumable", "Upload-Length", "Upload-Offset", "Upload-Metadata", "Upload-Defer-Length", "Upload-Concat", "Upload-Checksum",
		"X-HTTP-Method-Override",
	}
	TusResponseFields = []string{
		"Tus-Version", "Tus-Resumable", "Tus-Max-Size", "Tus-Extension", "Tus-Checksum-Algorithm", "Upload-Offset", "Upload-Length",
		"Upload-Metadata", "Upload-Defer-Length", "Upload-Concat", "Upload-Expires", "Upload-Task",
	}
)
