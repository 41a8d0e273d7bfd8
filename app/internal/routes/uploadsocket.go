package routes

import (
	"errors"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/server/upgrade"
	"github.com/galeserver/gale/server/uploadsocket"
	"github.com/galeserver/gale/uploads"
)

// Default names of an upload by WebSocket.
const (
	socketDirectory = "websocket"
	socketFilename  = "uploaded_file.bin"
)

// socket is GET /upload: an upload by WebSocket.
func (u *uploadRoutes) socket(ctx *fasthttp.RequestCtx) error {
	shake, err := upgrade.Read(ctx, "this path needs a WebSocket; send forms by POST, and end the path with a slash to list files")
	if shake == nil || err != nil {
		return err
	}
	f, err := u.events.follow(ctx, 0)
	if err != nil {
		return err
	}
	args := ctx.QueryArgs()
	r := uploadsocket.Request{
		Directory: string(args.Peek("directory")), Filename: string(args.Peek("filename")),
		Sender: senderOf(ctx), Written: f.received,
		Response: func(a uploads.Response) any { return u.tasks.response(a) },
		Ended:    func(a uploads.Response) { f.end(u.tasks.response(a)) },
	}
	if !args.Has("directory") {
		r.Directory = socketDirectory
	}
	if r.Numbered = !args.Has("filename"); r.Numbered {
		r.Filename = socketFilename
	}
	if err = u.sockets.Serve(ctx, shake, r); err != nil {
		f.end(u.tasks.response(uploads.ErrorResponse(err)))
	}
	if code := uploads.ErrorResponse(err).Code; err == nil || errors.Is(err, upgrade.ErrLeaving) || code == uploads.CodeInternal || code == uploads.CodeNoSpace {
		return err
	}
	return u.refuse(ctx, err)
}
