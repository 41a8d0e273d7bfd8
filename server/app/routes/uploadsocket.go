package routes

import (
	"errors"
	"strings"

	"github.com/valyala/fasthttp"

	"gale/server/uploadsocket"
	"gale/uploads"
)

// What an upload by WebSocket is called that does not say: the seeds' client
// gives no name at all.
const (
	socketDirectory = "websocket"
	socketFilename  = "uploaded_file.bin"
)

// bearerProtocol begins the subprotocol that carries the token of a browser,
// which can set no header of a WebSocket's handshake.
const bearerProtocol = "bearer."

// socketToken makes the token that came as a subprotocol the one that access
// looks at. It returns the subprotocol, which the answer must name: browsers
// fail the handshake otherwise.
func socketToken(h *fasthttp.RequestHeader) (offered string) {
	for _, value := range h.PeekAll("Sec-WebSocket-Protocol") {
		for protocol := range strings.SplitSeq(string(value), ",") {
			protocol = strings.TrimSpace(protocol)
			token, ok := strings.CutPrefix(protocol, bearerProtocol)
			if !ok || offered != "" {
				continue
			}
			offered = protocol
			if len(h.Peek(fasthttp.HeaderAuthorization)) == 0 {
				h.Set(fasthttp.HeaderAuthorization, "Bearer "+token)
			}
		}
	}
	return offered
}

// withToken lets a token through that came as a subprotocol.
func withToken(admit func(*fasthttp.RequestHeader) error) func(*fasthttp.RequestHeader) error {
	return func(h *fasthttp.RequestHeader) error {
		socketToken(h)
		return admit(h)
	}
}

// socket is GET /upload: an upload by WebSocket.
func (u *uploadRoutes) socket(ctx *fasthttp.RequestCtx) error {
	if ok, err := uploadsocket.Handshake(ctx); !ok {
		return err
	}
	args := ctx.QueryArgs()
	r := uploadsocket.Request{
		Directory: string(args.Peek("directory")), Filename: string(args.Peek("filename")),
		Subprotocol: socketToken(&ctx.Request.Header), Stored: u.start,
	}
	if !args.Has("directory") {
		r.Directory = socketDirectory
	}
	if r.Numbered = !args.Has("filename"); r.Numbered {
		r.Filename = socketFilename
	}
	err := u.sockets.Serve(ctx, r)
	if errors.Is(err, uploads.ErrName) || errors.Is(err, uploads.ErrExists) {
		return u.refuse(ctx, err)
	}
	return err
}
