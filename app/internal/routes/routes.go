// Package routes is the platform's part of HTTP: it knows what a request means in
// terms of uploads, jobs and channels, and guards the routes of an application.
package routes

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/app/internal/access"
	"github.com/galeserver/gale/app/internal/console"
	"github.com/galeserver/gale/app/internal/watch"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/artifacts"
	"github.com/galeserver/gale/jobs/driver"
	"github.com/galeserver/gale/server"
	"github.com/galeserver/gale/server/realtime"
	"github.com/galeserver/gale/server/static"
	"github.com/galeserver/gale/server/upgrade"
	"github.com/galeserver/gale/server/uploadsocket"
	"github.com/galeserver/gale/uploads"
	"github.com/galeserver/gale/uploads/tus"
)

// Deps are what the handlers work with.
type Deps struct {
	Tasks     *jobs.Registry
	Client    *jobs.Client // accepts them
	Store     driver.Store
	Artifacts *artifacts.Folder
	Uploads   *uploads.Store
	// Static are the files under /static/; nil for none.
	Static *static.Folder
	// Redis is what all processes share: the store slot or a real one.
	Redis redis.Scripter
	// Hub holds the connections that live long, Bus brings them messages.
	Hub *realtime.Hub
	Bus *realtime.Bus
	// Watches follow the tasks that clients watch. Its Run is the caller's to call.
	Watches *watch.Watches
	// Events tell how uploads go. Its Run is the caller's to call.
	Events *UploadEvents
	// Console are the open pages of the console. Its Run is the caller's to call.
	Console *console.Console
	// UploadStarter starts the tasks of stored files.
	UploadStarter *UploadStarter
	// UploadTypes are the endings, such as .mp3, that a urlencoded form may
	// hold; * is any.
	UploadTypes []string
	// Sockets takes the uploads by WebSocket. Its Run is the caller's to call.
	Sockets *uploadsocket.Server
	// Resumable takes the uploads by tus. Its Run and Close are the caller's to
	// call.
	Resumable *tus.Server
	// Prefix is in front of the paths of all routes but /healthz; empty for none.
	Prefix string
	// Off are the groups that there are no routes for, see Groups.
	Off []string
	// Guard admits requests.
	Guard *access.Guard
	// Leaving ends when the process is to leave: requests that only wait are
	// answered at once then.
	Leaving context.Context //nolint:containedctx // the process's, not a request's
	Logger  *slog.Logger
}

// Groups are the parts of the platform that an application can switch off: forms,
// WebSockets and downloads below /upload; resumable uploads below /tus; /tasks and
// /workflows; /channels, /events, /publish and /longpoll; /console; /static.
var Groups = []string{"uploads", "tus", "tasks", "channels", "console", "static"}

// All returns the platform's routes.
func All(d Deps) []server.Route {
	tasks := &taskRoutes{client: d.Client, store: d.Store, artifacts: d.Artifacts, leaving: d.Leaving, prefix: d.Prefix}
	manage := &manageRoutes{store: d.Store, tasks: d.Tasks, prefix: d.Prefix}
	watching := &watchRoutes{hub: d.Hub, watches: d.Watches, store: d.Store}
	channels := &channelRoutes{hub: d.Hub, bus: d.Bus, log: d.Logger}
	parts := map[string][]server.Route{
		"uploads":  newUploadRoutes(d).routes(d.Guard),
		"tus":      resumableRoutes(d.Resumable, d.UploadStarter, d.Guard),
		"tasks":    slices.Concat(manage.routes(d.Guard), tasks.routes(d.Guard), watching.routes(d.Guard)),
		"channels": channels.routes(d.Guard),
		"console":  newConsoleRoutes(d),
		"static":   {{Method: fasthttp.MethodGet, Path: "/static/{name:*}", Handler: staticFile(d.Static)}},
	}
	all := []server.Route{{Method: fasthttp.MethodGet, Path: HealthPath, Handler: healthz}}
	for _, group := range Groups {
		if slices.Contains(d.Off, group) {
			continue
		}
		for _, r := range parts[group] {
			r.Path = d.Prefix + r.Path
			all = append(all, r)
		}
	}
	return all
}

// HealthPath is where it is for every application.
const HealthPath = "/healthz"

// Statuses are the rows of the table from error to status that the errors of the
// platform's packages need.
var Statuses = []server.ErrorStatus{
	{Err: jobs.ErrNotFound, Status: 404, Reason: "no such task"},
	{Err: jobs.ErrTaken, Status: 409},
	{Err: jobs.ErrUnknownTask, Status: 404},
	{Err: jobs.ErrArgs, Status: 400},
	{Err: jobs.ErrID, Status: 400},
	{Err: jobs.ErrOption, Status: 400},
	{Err: jobs.ErrUnavailable, Status: 503, Reason: "tasks cannot be accepted or looked up now, try again", RetryAfter: retryStore},
	{Err: upgrade.ErrLeaving, Status: 503, Reason: "the server is shutting down, try again", RetryAfter: time.Second},
	{Err: realtime.ErrAway, Status: 503, Reason: "channels cannot be reached now, try again", RetryAfter: time.Second},
	{Err: realtime.ErrChannel, Status: 400, Reason: realtime.ErrChannel.Error()},
	{Err: realtime.ErrText, Status: 400, Reason: "body: " + realtime.ErrText.Error()},
}

// healthz is GET /healthz: that it is answered is the answer.
func healthz(ctx *fasthttp.RequestCtx) error {
	server.WriteText(ctx, fasthttp.StatusOK, "ok\n")
	return nil
}
