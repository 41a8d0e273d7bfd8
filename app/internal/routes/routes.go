// Package routes answers the HTTP requests of the application that `server`
// runs: it knows what a request means in terms of uploads and jobs, and puts
// what they answer back into HTTP.
package routes

import (
	"context"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/app/internal/console"
	"github.com/galeserver/gale/app/internal/watch"
	"github.com/galeserver/gale/demo/upstream"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/artifacts"
	"github.com/galeserver/gale/jobs/driver"
	"github.com/galeserver/gale/jobs/meter"
	"github.com/galeserver/gale/pool"
	"github.com/galeserver/gale/server"
	"github.com/galeserver/gale/server/cache"
	"github.com/galeserver/gale/server/limit"
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
	Store     driver.Store
	Artifacts *artifacts.Folder
	Uploads   *uploads.Store
	// Pool is where blocking handlers run.
	Pool *pool.Pool
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
	// Broadcast counts the clients of /broadcast; nil for nobody.
	Broadcast *atomic.Int64
	// MaxBody is the limit of a message to many, in bytes.
	MaxBody int64
	// Upstream is what /fetch fetches; nil for nothing.
	Upstream *upstream.Client
	// OnUpload is the task started for each stored file that it accepts; empty
	// for none.
	OnUpload string
	// UploadTasks are the tasks that do not take every file, by name.
	UploadTasks map[string]UploadTask
	// UploadTypes are the endings, such as .mp3, that a urlencoded form may
	// hold; * is any.
	UploadTypes []string
	// Sockets takes the uploads by WebSocket. Its Run is the caller's to call.
	Sockets *uploadsocket.Server
	// Resumable takes the uploads by tus. Its Run and Close are the caller's to
	// call.
	Resumable *tus.Server
	// TaskMeter counts the tasks that are accepted; nil for nobody.
	TaskMeter meter.Meter
	// Limited and Cached count what /limited and /cached are asked; nil for nobody.
	Limited *limit.Counters
	Cached  *cache.Counters
	// Token is what writes, and reading files and tasks, need; empty for none.
	Token string
	// Origins may write from a browser beside the server's own.
	Origins server.Origins
	// HTTPS says that the server itself speaks TLS.
	HTTPS bool
	// Leaving ends when the process is to leave: requests that only wait are
	// answered at once then.
	Leaving context.Context //nolint:containedctx // the process's, not a request's
	Logger  *slog.Logger
}

// All returns the routes, and the rows of the table from error to status that
// their packages' errors need.
func All(d Deps) ([]server.Route, []server.ErrorStatus) {
	guard := newAccess(d.Token, d.Origins)
	guard.https = d.HTTPS
	client := &jobs.Client{Store: d.Store, Tasks: d.Tasks, Meter: d.TaskMeter}
	up := newUploadRoutes(d)
	t := &taskRoutes{client: client, store: d.Store, artifacts: d.Artifacts, leaving: d.Leaving}
	wait := &waitRoutes{pool: d.Pool, log: d.Logger}
	fetch := &fetchRoutes{client: d.Upstream, pool: d.Pool, log: d.Logger}
	shared := &sharedRoutes{limit: limit.New(d.Redis, limit.Options{Name: "limited", Counters: d.Limited}), cache: cache.New(d.Redis, cache.Options{Counters: d.Cached})}
	watching := &watchRoutes{hub: d.Hub, watches: d.Watches, store: d.Store}
	manage := &manageRoutes{store: d.Store, tasks: d.Tasks}
	get, post, remove := fasthttp.MethodGet, fasthttp.MethodPost, fasthttp.MethodDelete
	return slices.Concat(manage.routes(guard), realtimeRoutes(d, guard), newConsoleRoutes(d, guard), []server.Route{
		{Method: get, Path: "/", Handler: greet},
		{Method: get, Path: "/healthz", Handler: healthz},
		{Method: get, Path: "/delay", Handler: wait.delay},
		{Method: get, Path: "/sleep", Handler: wait.sleep},
		{Method: get, Path: "/fetch", Handler: fetch.direct},
		{Method: get, Path: "/fetch/blocking", Handler: fetch.blocking},
		{Method: get, Path: "/static/{name:*}", Handler: staticFile(d.Static)},
		{Method: get, Path: "/limited", Handler: shared.limited},
		{Method: get, Path: "/cached", Handler: shared.cached},
		// The store limits each file and the form as a whole.
		{Method: post, Path: "/upload", Admit: guard.write, Handler: up.post, MaxBody: -1},
		{Method: get, Path: "/upload", Admit: withToken(guard.write), Handler: up.socket},
		{Method: remove, Path: "/upload", Admit: guard.write, Handler: up.remove},
		{Method: get, Path: "/upload/{path:*}", Admit: guard.read, Handler: up.get},
		{Method: get, Path: "/start-task", Admit: guard.write, Handler: t.start},
		{Method: post, Path: "/start-task", Admit: guard.write, Handler: t.start},
		{Method: post, Path: "/tasks", Admit: guard.write, Handler: t.post, MaxBody: maxTask},
		{Method: get, Path: "/tasks/{id}", Admit: guard.read, Handler: t.get},
		{Method: get, Path: "/tasks/{id}/watch", Admit: withToken(guard.write), Handler: watching.watch},
		{Method: get, Path: "/tasks/{id}/log", Admit: guard.read, Handler: t.log},
		{Method: get, Path: "/workflows/{id}", Admit: guard.read, Handler: t.workflow},
		{Method: get, Path: "/tasks/{id}/artifacts/{name}", Admit: guard.read, Handler: t.artifact},
	}, resumableRoutes(d.Resumable, guard)), statuses
}

// statuses is the application's part of the one table from error to status.
var statuses = []server.ErrorStatus{
	{Err: jobs.ErrNotFound, Status: 404, Reason: "no such task"},
	{Err: jobs.ErrUnavailable, Status: 503, Reason: "tasks cannot be accepted or looked up now, try again", RetryAfter: retryStore},
	{Err: upgrade.ErrLeaving, Status: 503, Reason: "the server is about to end, try again", RetryAfter: time.Second},
	{Err: realtime.ErrAway, Status: 503, Reason: "channels cannot be reached now, try again", RetryAfter: time.Second},
	{Err: realtime.ErrChannel, Status: 400, Reason: realtime.ErrChannel.Error()},
	{Err: realtime.ErrText, Status: 400, Reason: "body: " + realtime.ErrText.Error()},
	{Err: upstream.ErrTimeout, Status: 504, Reason: upstream.ErrTimeout.Error()},
	{Err: upstream.ErrUnreachable, Status: 502, Reason: upstream.ErrUnreachable.Error()},
	{Err: upstream.ErrAnswer, Status: 502, Reason: upstream.ErrAnswer.Error()},
}

// greet is GET /.
func greet(ctx *fasthttp.RequestCtx) error {
	greeting := "Hello"
	if given := ctx.QueryArgs().Peek("greeting"); given != nil {
		greeting = string(given)
	}
	server.WriteText(ctx, fasthttp.StatusOK, greeting+", friendly user!")
	return nil
}

// healthz is GET /healthz: that it is answered is the answer.
func healthz(ctx *fasthttp.RequestCtx) error {
	server.WriteText(ctx, fasthttp.StatusOK, "ok\n")
	return nil
}
