package app

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"html/template"
	"io/fs"
	"slices"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/app/internal/access"
	"github.com/galeserver/gale/app/internal/config"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/pool"
	"github.com/galeserver/gale/server"
	"github.com/galeserver/gale/server/session"
	"github.com/galeserver/gale/uploads"
)

// Application describes a server: its name, flags, tasks, routes and background
// work. Main and Run add everything else. The zero value is Gale's own server, which
// has the platform's routes only.
type Application struct {
	// Name is the name of the command, in lower-case letters, digits and hyphens.
	// Usage texts, error messages and ps show it. The application's own flags are read
	// from the environment as <NAME>_<FLAG>, Gale's flags as GALE_<FLAG>. Default:
	// "server", and all flags are read as GALE_<FLAG>.
	Name string
	// Version is the application's version, which the command "version" prints beside
	// Gale's. Default: the version of the main module.
	Version string
	// Flags declares the application's own flags. They are read like Gale's, from the
	// command line, the environment and the file that -config names. Flags is called
	// once per process, with a new FlagSet. A flag with the name of one of Gale's is a
	// configuration error.
	Flags func(*flag.FlagSet)
	// Check validates the application's own flags after they have been set. It returns
	// one error per fault, and each error names its flag. The faults are reported
	// together with Gale's own, with exit status 2.
	Check func() []error
	// Tasks are the tasks that workers run. A task's handler gets the Services of its
	// worker from From.
	Tasks []jobs.Definition
	// UploadTasks are the tasks, out of Tasks, that may be started for an uploaded
	// file. The first one is the default of -on-upload.
	UploadTasks []UploadTask
	// BeforeUpload decides about each file, in the serving process and before the content
	// is received: it refuses the file by an error, or changes its name, or limits its size.
	// A *server.Error with a 4xx status is the response; 503 asks the client to try again, and
	// any other error is a 500 response. It is called for every way to upload, see
	// uploads.Proposal. It may block; use Services.Pool for blocking work.
	//
	// With BeforeUpload, everyone that Authenticate or a session identifies may upload, not
	// only the administrator, and BeforeUpload decides by the sender. Anonymous uploads are
	// possible only without -token. The parts of a tus upload have no name: the decision is
	// made when they are joined.
	BeforeUpload func(ctx context.Context, s *Services, p uploads.Proposal) (uploads.Decision, error)
	// OnUpload is called in a worker for each stored file. It is called at least once
	// per file, even if processes are killed after the file was stored. Each call is a
	// task named OnUploadTask. The response to the upload holds the id of that task,
	// unless one of UploadTasks is started for the same file. A call that fails is
	// retried up to five times, with backoff; jobs.NoRetry prevents that.
	OnUpload func(ctx context.Context, s *Services, f uploads.File) error
	// Schedules start tasks periodically, in addition to the schedules of the tasks
	// file.
	Schedules []Schedule
	// Routes returns the application's routes. It only builds the table and must not
	// do any work. It is called once in each serving process. It is also called by
	// "check", and by the master before it binds a socket, with Services whose methods
	// return ErrOffline. An error, or a route that clashes with one of Gale's, is
	// therefore reported before anything starts; on a reload, the new binary is
	// refused. A path that ends in {name:*} matches what no other route matches.
	//
	// The routes are protected like the platform's. Writes and WebSockets from pages of
	// other origins are refused. If -token is set, all methods except GET, HEAD,
	// OPTIONS and TRACE, and GET on a route with Writes, need the token or an Identity,
	// unless the route is Public.
	Routes func(*Services) ([]server.Route, error)
	// Middleware wraps the handlers of Routes. The first entry is the outermost, and
	// all entries are outside the middleware of a single route. Middleware runs after
	// access control and does not see responses that no handler made, such as 404; see
	// server.Middleware.
	Middleware []server.Middleware
	// Header holds the names and values of fields of every response, those of Gale's
	// routes and error responses included; see server.Options.Header. What a handler or
	// Route.Header sets has precedence. A field that is not allowed is a configuration
	// error. Default: the fields that Gale always sends.
	Header [][2]string
	// Authenticate returns the sender of a request, or nil for an anonymous one. An
	// error is sent as a 401 response, or with its own status if it is a *server.Error;
	// a panic becomes a 500 response. Authenticate is called at most once per request, and
	// the connection waits for it. It must not block for long: verify a signature or
	// read memory. It is not called for a request with the token of -token or with a
	// console session, which is the administrator's. It does not replace -token or
	// -open on a public address.
	Authenticate func(h *fasthttp.RequestHeader) (*Identity, error)
	// Sessions gives each client of the application a session, see package session.
	// Handlers use it through Services.Sessions. If Authenticate does not identify the
	// caller, the subject of Session.Login is the Subject of the Identity. Nil: no
	// sessions.
	Sessions *session.Options
	// Templates is the folder of the application's HTML templates: an embed.FS, reduced to
	// a folder by fs.Sub, or os.DirFS. Handlers use them through Services.Templates; see
	// package templates. The flag -templates names a folder that is used instead. A
	// template with a fault is reported before anything starts, and a reload with one is
	// refused. Nil: no templates, unless -templates is set.
	Templates fs.FS
	// TemplateFuncs are functions for the templates, as for template.Funcs, in addition to
	// those of package templates. They must be safe for concurrent use.
	TemplateFuncs template.FuncMap
	// Start runs background work in each serving process until ctx is done. If it
	// returns an error, the process ends and the master starts it again after a
	// backoff. If it returns nil, the process keeps running.
	Start func(ctx context.Context, s *Services) error
	// Platform sets the path prefix of the platform's routes, and which of them are
	// off.
	Platform Platform
}

// UploadTask is a task that may be started for an uploaded file. The task takes two
// strings as its arguments, the directory and the filename.
type UploadTask struct {
	// Name is the name of a task in Application.Tasks.
	Name string
	// Accepts reports whether the task may be started for a file of that name.
	// Default: for every file.
	Accepts func(filename string) bool
}

// Identity is the sender of a request, as Application.Authenticate returns it.
//   - Subject names the sender, and Scopes lists the sender's rights. Only the
//     application uses them.
//   - Admin gives the sender the rights of -token on the platform's routes.
//   - Cookie must be set if the identity comes from a cookie. The identity is then
//     accepted only in requests from pages of this server or of an origin in
//     -origins, and when a person follows a link.
type Identity = access.Identity

// IdentityOf returns the sender of a request to one of the application's routes. It
// returns nil for an anonymous sender, and on a route whose Admit function returns
// another type.
func IdentityOf(ctx *fasthttp.RequestCtx) *Identity {
	id, _ := server.Admitted(ctx).(*Identity)
	return id
}

// program returns what package config needs of the application.
func (a *Application) program() *config.Program {
	p := &config.Program{Name: a.Name, Flags: a.Flags, Check: func() []error {
		all := a.faults()
		if a.Check != nil {
			all = append(all, a.Check()...)
		}
		return all
	}}
	for _, d := range a.tasks() {
		p.Tasks = append(p.Tasks, d.Name)
	}
	if len(a.UploadTasks) > 0 {
		p.OnUpload = a.UploadTasks[0].Name
	}
	return p
}

// command returns the name of the application's command.
func (a *Application) command() string { return cmp.Or(a.Name, "server") }

// ownRoutes returns the application's own routes, without access control.
func (a *Application) ownRoutes(s *Services) ([]server.Route, error) {
	if a.Routes == nil {
		return nil, nil
	}
	own, err := a.Routes(s)
	if err != nil {
		return nil, fmt.Errorf("routes of %s: %w", a.command(), err)
	}
	own = slices.Clone(own)
	var outer []server.Middleware
	if s.Sessions != nil {
		outer = append(outer, s.Sessions.Middleware)
	}
	for i := range own {
		own[i].Yields = true // a catch-all route of the application yields to the platform's routes
		own[i].Middleware = slices.Concat(outer, a.Middleware, own[i].Middleware)
	}
	return own, errors.Join(s.faults...)
}

// background returns a function that calls Start, with its panics as errors.
func (a *Application) background(s *Services) func(context.Context) error {
	return func(ctx context.Context) error {
		if a.Start == nil {
			return nil
		}
		err := pool.Protect(func() error { return a.Start(ctx, s) })
		if err != nil && ctx.Err() == nil {
			return fmt.Errorf("background work of %s: %w", a.command(), err)
		}
		return nil
	}
}

func (a *Application) hasTask(name string) bool {
	return slices.ContainsFunc(a.tasks(), func(d jobs.Definition) bool { return d.Name == name })
}

// faults returns the faults of the application that do not depend on its flags.
func (a *Application) faults() []error {
	all := a.Platform.faults()
	if _, err := jobs.NewRegistry(a.tasks()...); err != nil {
		return append(all, err)
	}
	for _, t := range a.UploadTasks {
		if !a.hasTask(t.Name) {
			all = append(all, fmt.Errorf("upload task %s: no such task in Application.Tasks", t.Name))
		}
	}
	if _, err := a.periodic(); err != nil {
		all = append(all, err)
	}
	return all
}
