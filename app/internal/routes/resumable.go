package routes

import (
	"errors"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/app/internal/access"
	"github.com/galeserver/gale/server"
	"github.com/galeserver/gale/uploads"
	"github.com/galeserver/gale/uploads/tus"
)

// Stored returns what tus.Options calls for a file that came by tus: it sends the last
// event of the upload.
func Stored(events *UploadEvents, tasks *UploadStarter) func(id string, f uploads.File) {
	return func(id string, f uploads.File) {
		response := tasks.response(uploads.NewAnswer(f))
		events.note(uploadEvent{Upload: id, Received: f.Size, Total: f.Size, Answer: &response})
	}
}

// resumable responds to what is below /tus/.
type resumable struct {
	server *tus.Server
	tasks  *UploadStarter
}

// resumableRoutes are the routes of the tus protocol. They are told apart by the
// protocol, not here: the method of a POST may be in a field of its head, and so a
// POST needs what any of them needs.
func resumableRoutes(s *tus.Server, tasks *UploadStarter, guard *access.Guard) (all []server.Route) {
	r := resumable{s, tasks}
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
		Length: length, Body: server.Body(ctx), Cut: server.BodyAborter(ctx),
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
	if answer.File != nil {
		if task := r.tasks.file(*answer.File).Task; task != "" {
			ctx.Response.Header.Set("Upload-Task", task)
		}
	}
	switch body := answer.Body.(type) {
	case nil:
		return nil
	case uploads.Answer:
		return server.WriteJSON(ctx, answer.Status, r.tasks.response(body))
	default:
		return server.WriteJSON(ctx, answer.Status, body)
	}
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
