package routes

import (
	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/server"
	"github.com/galeserver/gale/server/static"
)

// staticFile is GET /static/…. Without -static, every request gets a 404 response.
func staticFile(folder *static.Folder) server.Handler {
	return func(ctx *fasthttp.RequestCtx) error {
		if folder == nil {
			return server.Fail(fasthttp.StatusNotFound, "no static files: the server was started without -static")
		}
		return folder.Serve(ctx, server.Param(ctx, "name"))
	}
}
