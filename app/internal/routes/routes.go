// Package routes holds the HTTP routes of the platform. Its handlers translate requests to
// calls of the packages for tasks, uploads and channels.
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
	"github.com/galeserver/gale/app/internal/openapi"
	"github.com/galeserver/gale/app/internal/watch"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/artifacts"
	"github.com/galeserver/gale/jobs/driver"
	"github.com/galeserver/gale/jobs/schedule"
	"github.com/galeserver/gale/jobs/workerapi"
	"github.com/galeserver/gale/server"
	"github.com/galeserver/gale/server/realtime"
	"github.com/galeserver/gale/server/session"
	"github.com/galeserver/gale/server/static"
	"github.com/galeserver/gale/server/upgrade"
	"github.com/galeserver/gale/server/uploadsocket"
	"github.com/galeserver/gale/uploads"
	"github.com/galeserver/gale/uploads/tus"
)

// Deps are the services that the handlers use. The caller runs and closes those that have
// methods Run and Close.
type Deps struct {
	Tasks  *jobs.Registry
	Client *jobs.Client // accepts tasks
	// Schedules are the schedules of the application and of the tasks file.
	Schedules []schedule.Periodic
	Store     driver.Store
	// Workers serves the worker protocol.
	Workers   *workerapi.Service
	Artifacts artifacts.Files // files of tasks
	Uploads   *uploads.Store
	// Static holds the files under /static/; nil for none.
	Static *static.Folder
	// Redis is Redis or the embedded state server, which all processes share.
	Redis redis.Scripter
	// Hub manages long-lived connections.
	Hub *realtime.Hub
	// Bus delivers the messages of channels to them.
	Bus *realtime.Bus
	// Watches follows the tasks that clients watch.
	Watches *watch.Watches
	// Events publishes the progress of uploads.
	Events *UploadEvents
	// Console serves the open pages of the console.
	Console *console.Console
	// UploadStarter starts the tasks of stored files.
	UploadStarter *UploadStarter
	// UploadTypes are the filename endings, such as .mp3, that a urlencoded form may
	// upload; * allows all.
	UploadTypes []string
	// FilesRedirect is the time for which a URL of the object storage is valid to which
	// downloads are redirected; 0: this server sends the files.
	FilesRedirect time.Duration
	// UploadAdmit admits requests that store files. Default: Guard.Write.
	UploadAdmit func(*fasthttp.RequestHeader) (any, error)
	// MaxUpload is the size limit of a file in bytes, which Uploads also has.
	MaxUpload int64
	// Sockets receives uploads by WebSocket.
	Sockets *uploadsocket.Server
	// Resumable receives uploads by the tus protocol.
	Resumable *tus.Server
	// Prefix is put in front of the paths of all routes except /healthz.
	Prefix string
	// Off lists the groups of routes that are switched off; see Groups.
	Off []string
	// Reloads makes open pages reload themselves; nil without -watch.
	Reloads *Reloads
	// Own are the routes of the application, for the description of all routes. Program
	// and Version are its name and version.
	Own              []server.Route
	Program, Version string
	// Guard controls access.
	Guard *access.Guard
	// Leaving is done when the process begins to drain. Requests that only wait are then
	// responded to at once.
	Leaving context.Context //nolint:containedctx // of the process, not of a request
	Logger  *slog.Logger
}

// Groups are the groups of routes that an application can switch off. "uploads" is
// /upload, "tus" is /tus, "tasks" is /tasks,
// /workflows, /queues and /schedules, "workers" is /workers, "channels" is /channels,
// /events, /publish and /longpoll, "console" is /console, "static" is /static, and
// "openapi" is /openapi.json.
var Groups = []string{"uploads", "tus", "tasks", "workers", "channels", "console", "static", DescriptionGroup}

// All returns the platform's routes.
func All(d Deps) (all []server.Route) {
	for _, g := range groupsOf(d) {
		for _, r := range g.Routes {
			r.Path = g.Prefix + r.Path
			all = append(all, r)
		}
	}
	return append(all, d.Reloads.routes()...)
}

// groupsOf returns the groups of the platform's routes that are on, with the routes and
// their descriptions.
func groupsOf(d Deps) []openapi.Group {
	if d.UploadAdmit == nil {
		d.UploadAdmit = d.Guard.Write
	}
	tasks := &taskRoutes{client: d.Client, store: d.Store, artifacts: d.Artifacts, redirect: d.FilesRedirect, leaving: d.Leaving, prefix: d.Prefix}
	manage := &manageRoutes{client: d.Client, store: d.Store, tasks: d.Tasks, workers: d.Workers, prefix: d.Prefix}
	watching := &watchRoutes{hub: d.Hub, watches: d.Watches, store: d.Store}
	queues := &queueRoutes{store: d.Store}
	schedules := &scheduleRoutes{client: d.Client, all: d.Schedules, prefix: d.Prefix}
	channels := &channelRoutes{hub: d.Hub, bus: d.Bus, log: d.Logger}
	description := &description{}
	get := fasthttp.MethodGet
	parts := map[string][]server.Route{
		healthGroup:      {{Method: get, Path: HealthPath, Handler: healthz, Untraced: true}},
		"uploads":        newUploadRoutes(d).routes(d.Guard, d.UploadAdmit),
		"tus":            resumableRoutes(d),
		"tasks":          slices.Concat(manage.routes(d.Guard), tasks.routes(d.Guard), watching.routes(d.Guard), queues.routes(d.Guard), schedules.routes(d.Guard)),
		"workers":        WorkerRoutes(d.Workers, d.Guard.Write),
		"channels":       channels.routes(d.Guard),
		"console":        newConsoleRoutes(d),
		"static":         {{Method: get, Path: "/static/{name:*}", Handler: staticFile(d.Static)}},
		DescriptionGroup: {{Method: get, Path: descriptionPath, Admit: d.Guard.Read, Handler: description.serve, Compress: true}},
	}
	all := described(d)
	for i := range all {
		all[i].Routes = parts[all[i].Name]
	}
	description.of(d, all)
	return all
}

// HealthPath is the path of the health check. It has no prefix in any application.
const HealthPath = "/healthz"

// Statuses maps the errors of the platform's packages to HTTP statuses.
var Statuses = []server.ErrorStatus{
	{Err: jobs.ErrNotFound, Status: 404, Reason: "no such task"},
	{Err: jobs.ErrTaken, Status: 409},
	{Err: jobs.ErrUnknownTask, Status: 404},
	{Err: jobs.ErrArgs, Status: 400},
	{Err: jobs.ErrOption, Status: 400},
	{Err: jobs.ErrUnavailable, Status: 503, Reason: "the task store is not available, try again", RetryAfter: retryStore},
	{Err: uploads.ErrUndecided, Status: 503, Reason: "the decision about the upload is not available, try again", RetryAfter: retryStore},
	{Err: uploads.ErrUnavailable, Status: 503, Reason: "the file store is not available, try again", RetryAfter: retryStore},
	{Err: upgrade.ErrLeaving, Status: 503, Reason: "the server is shutting down, try again", RetryAfter: time.Second},
	{Err: realtime.ErrAway, Status: 503, Reason: "channels are not available, try again", RetryAfter: time.Second},
	{Err: session.ErrAway, Status: 503, Reason: "sessions are not available, try again", RetryAfter: time.Second},
	{Err: realtime.ErrChannel, Status: 400, Reason: realtime.ErrChannel.Error()},
	{Err: realtime.ErrText, Status: 400, Reason: "body: " + realtime.ErrText.Error()},
}

// healthz is GET /healthz. It responds if the process can serve requests.
func healthz(ctx *fasthttp.RequestCtx) error {
	server.WriteText(ctx, fasthttp.StatusOK, "ok\n")
	return nil
}
