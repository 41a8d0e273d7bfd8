package routes

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/server"
)

// announcePath is the path of the announcement of a worker.
const announcePath = "/workers/announce"

// ForProgram returns the routes for a worker program that the server runs: tasks, workflows,
// the worker protocol, downloads and POST /publish. The paths have no prefix, and no group
// is off. announced is called with the session of each announcement, before the response
// is sent; if it returns an error, the announcement fails. Of d, the fields of groups with
// WebSockets, uploads and pages are not used.
func ForProgram(d Deps, announced func(session string) error) []server.Route {
	tasks := &taskRoutes{client: d.Client, store: d.Store, artifacts: d.Artifacts, leaving: d.Leaving}
	manage := &manageRoutes{client: d.Client, store: d.Store, tasks: d.Tasks, workers: d.Workers}
	channels := &channelRoutes{bus: d.Bus, log: d.Logger}
	all := slices.Concat(manage.routes(d.Guard), tasks.routes(d.Guard), WorkerRoutes(d.Workers, d.Guard.Write))
	for _, r := range slices.Concat(newUploadRoutes(d).routes(d.Guard, d.Guard.Write), channels.routes(d.Guard)) {
		download := r.Method == fasthttp.MethodGet && strings.HasPrefix(r.Path, "/upload/")
		if download || strings.HasPrefix(r.Path, "/publish/") {
			all = append(all, r)
		}
	}
	for i, r := range all {
		if r.Path == announcePath {
			all[i].Handler = reportSession(r.Handler, announced)
		}
	}
	return append(all, server.Route{Method: fasthttp.MethodGet, Path: HealthPath, Handler: healthz, Untraced: true})
}

// reportSession calls announced with the session in a successful response of next.
func reportSession(next server.Handler, announced func(session string) error) server.Handler {
	return func(ctx *fasthttp.RequestCtx) error {
		if err := next(ctx); err != nil || ctx.Response.StatusCode() != fasthttp.StatusOK {
			return err
		}
		var response struct{ Session string }
		if err := json.Unmarshal(ctx.Response.Body(), &response); err != nil {
			return err
		}
		return announced(response.Session)
	}
}
