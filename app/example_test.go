package app_test

import (
	"context"
	"encoding/json"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/app"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/server"
)

var printOrder = jobs.Definition{
	Name: "print_order",
	Args: []jobs.Arg{{Name: "customer", Type: jobs.ArgString}},
	Handler: func(ctx context.Context, job *jobs.Job) error {
		var customer string
		if err := job.Args(&customer); err != nil {
			return err
		}
		job.Progress(50, "printing")
		return job.Return("printed for " + customer)
	},
}

// A whole program, as docs/tutorial/first-application.md has it: a route, and a task that it starts.
func Example() {
	app.Main(app.Application{
		Name:  "shop",
		Tasks: []jobs.Definition{printOrder},
		Routes: func(s *app.Services) ([]server.Route, error) {
			return []server.Route{
				{Method: "GET", Path: "/hello/{name}", Handler: func(ctx *fasthttp.RequestCtx) error {
					server.WriteText(ctx, 200, "Hello, "+server.Param(ctx, "name"))
					return nil
				}},
				{Method: "POST", Path: "/orders/{customer}", Handler: func(ctx *fasthttp.RequestCtx) error {
					args, err := json.Marshal([]string{server.Param(ctx, "customer")})
					if err != nil {
						return err
					}
					task, _, err := s.Tasks.Enqueue(ctx, jobs.NewTask{Name: printOrder.Name, Args: args})
					if err != nil {
						return err
					}
					return server.WriteJSON(ctx, 202, task)
				}},
			}, nil
		},
	})
}
