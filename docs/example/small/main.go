// Command small is the smallest application: one route, and everything that the
// platform has.
//
//	go run ./docs/example/small -port 8000
//	curl http://127.0.0.1:8000/hello/ada
package main

import (
	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/app"
	"github.com/galeserver/gale/server"
)

func main() {
	app.Main(app.Application{Name: "small", Routes: func(*app.Services) ([]server.Route, error) {
		return []server.Route{{Method: "GET", Path: "/hello/{name}", Handler: hello}}, nil
	}})
}

func hello(ctx *fasthttp.RequestCtx) error {
	server.WriteText(ctx, fasthttp.StatusOK, "Hello, "+server.Param(ctx, "name"))
	return nil
}
