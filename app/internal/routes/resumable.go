package routes

import (
	"errors"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/server"
	"github.com/galeserver/gale/uploads"
	"github.com/galeserver/gale/uploads/tus"
)

// Stored returns the callback of tus.Options for a stored file. It publishes the last
// event of the upload.
func Stored(events *UploadEvents, tasks *UploadStarter) func(id string, f uploads.File) {
	return func(id string, f uploads.File) {
		response := tasks.response(uploads.NewResponse(f))
		events.note(uploadEvent{Upload: id, Received: f.Size, Total: f.Size, Answer: &response})
	}
}

// resumable handles the requests below /tus/.
type resumable struct {
	server *tus.Server
	tasks  *UploadStarter
}

// resumableRoutes returns the routes of the tus protocol. All have the same handler,
// because a POST request can override its method in a header field. A POST therefore needs
// the rights of every method.
func resumableRoutes(d Deps) (all []server.Route) {
	r := resumable{d.Resumable, d.UploadStarter}
	header := [][2]string{{"Tus-Resumable", tus.Version}}
	for _, method := range []string{fasthttp.MethodGet, fasthttp.MethodHead, fasthttp.MethodPost, fasthttp.MethodPatch, fasthttp.MethodDelete, fasthttp.MethodOptions} {
		for _, path := range []string{tus.DefaultBase, tus.DefaultBase + "{id}"} {
			route := server.Route{Method: method, Path: path, Admit: d.UploadAdmit, Header: header, Handler: r.serve, MaxBody: -1} // package tus limits the body
			switch method {
			case fasthttp.MethodOptions:
				route.Admit = nil // browsers send OPTIONS without the token
			case fasthttp.MethodGet:
				route.Admit = d.Guard.Read
			}
			all = append(all, route)
		}
	}
	return all
}

func (r resumable) serve(ctx *fasthttp.RequestCtx) error {
	h := &ctx.Request.Header
	length := int64(h.ContentLength())
	if length < -1 { // fasthttp: the request has no body
		length = 0
	}
	result, err := r.server.Serve(ctx, &tus.Request{
		Method: string(ctx.Method()), ID: server.Param(ctx, "id"), Sender: senderOf(ctx),
		Header: func(name string) string { return server.List(h, name) },
		Length: length, Body: server.Body(ctx), Interrupt: server.BodyAborter(ctx),
	})
	if errors.Is(err, server.ErrBodyTimeout) {
		// Not 408: the received bytes are kept, and tus clients give up on every 4xx except
		// 409 and 423 (tus-js-client, #shouldRetry).
		return &server.Error{Status: fasthttp.StatusServiceUnavailable, Reason: server.ErrBodyTimeout.Error() + ", resume at the offset", RetryAfter: time.Second}
	}
	if err != nil {
		return err
	}
	ctx.SetStatusCode(result.Status)
	for _, field := range result.Header {
		if field[0] == fasthttp.HeaderLocation {
			field[1] = server.Location(ctx, field[1])
		}
		ctx.Response.Header.Set(field[0], field[1])
	}
	if result.File != nil {
		if task := r.tasks.file(*result.File).Task; task != "" {
			ctx.Response.Header.Set("Upload-Task", task)
		}
	}
	switch body := result.Body.(type) {
	case nil:
		return nil
	case uploads.Response:
		return server.WriteJSON(ctx, result.Status, r.tasks.response(body))
	default:
		return server.WriteJSON(ctx, result.Status, body)
	}
}

// Header fields of tus that pages of other origins may send and read; see server.Options.
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
