// Command small is the smallest Gale application: one route. The program also has
// everything else that Gale provides: uploads, tasks, channels, the console, and all
// flags and commands of the program server.
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
	// The name appears in the help texts, in the log and in ps.
	app.Main(app.Application{Name: "small", Routes: routes})
}

// routes returns the routes of the application. It must not do any other work, because it
// is also called when only the configuration is checked. Handlers that need tasks, uploads
// or channels get them from the Services.
func routes(*app.Services) ([]server.Route, error) {
	return []server.Route{{Method: "GET", Path: "/hello/{name}", Handler: hello}}, nil
}

// hello writes a response in plain text. If a handler returns an error instead, the
// client gets a JSON response: 500, or the status of the error if it is a *server.Error.
func hello(ctx *fasthttp.RequestCtx) error {
	server.WriteText(ctx, fasthttp.StatusOK, "Hello, "+server.Param(ctx, "name"))
	return nil
}
