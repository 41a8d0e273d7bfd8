package app

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
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

// Application is a server of your own: what is not Gale's. The zero value is the
// platform alone.
type Application struct {
	// Name is the command, in lower-case letters, digits and hyphens: usage texts,
	// log prefix and ps show it. Its own flags are read from the environment as
	// <NAME>_<FLAG>, Gale's as GALE_<FLAG>. Empty is Gale's own server: the command
	// is named server, and all flags are read as GALE_<FLAG>.
	Name string
	// Version is what the verb version prints beside Gale's. Default: the version
	// of the main module.
	Version string
	// Flags declares flags of the application. They are read like Gale's: from the
	// command line, the environment and the file of -config. Called once per process
	// on a fresh set. A name of Gale's is a fault.
	Flags func(*flag.FlagSet)
	// Check returns all that is wrong with the flags once they are set; each error
	// names its flag. Faults are reported together with Gale's, exit status 2.
	Check func() []error
	// Tasks are what workers run. A handler reaches the rest of the application by
	// From.
	Tasks []jobs.Definition
	// UploadTasks are those of Tasks that can be started for an uploaded file. The
	// first one is the default of -on-upload.
	UploadTasks []UploadTask
	// OnUpload is called for each stored file, in a worker: at least once, and also if
	// processes are killed between the file and the call. It is the task OnUploadTask,
	// whose id is in the response to the upload unless one of UploadTasks is started for
	// the file too. An error is tried again, five times, with backoff; see jobs.NoRetry.
	OnUpload func(ctx context.Context, s *Services, f uploads.File) error
	// Schedules start tasks again and again, beside those of the tasks file.
	Schedules []Schedule
	// Routes returns the routes of the application. It only builds the table: it is
	// called once in each serving process, and before anything starts, by check and by
	// the master, with Services whose calls return ErrOffline. So an error, or a route
	// that clashes with one of Gale's, is found before anything is bound, and on a
	// reload refuses the new binary. A path that ends in {name:*} is for what no other
	// route takes.
	//
	// The routes are guarded like the platform's: a page of another origin can neither
	// write nor open a WebSocket, and where -token is set POST, PUT, PATCH, DELETE and
	// a GET with Writes need the token or an Identity, unless the route is Public.
	Routes func(*Services) ([]server.Route, error)
	// Middleware is around the handlers of Routes, the first outermost, and outside of
	// that of a route. It runs after the guard, and does not see responses that no
	// handler made, such as 404: see server.Middleware.
	Middleware []server.Middleware
	// Authenticate says who sends a request: nil is an anonymous caller, an error is
	// 401, or its own status if it is a *server.Error. It is called once per request
	// and holds up the connection, so it must not block for long: verify a signature or
	// look into memory. A panic is a 500. A caller who sends -token or has a session of
	// the console is the administrator; Authenticate is not called then. It replaces
	// neither -token nor -open on a public address.
	Authenticate func(h *fasthttp.RequestHeader) (*Identity, error)
	// Sessions gives each client of the application a session, see package session: a
	// handler reaches it by Services.Sessions, and what Session.Login was called with is
	// the Subject of the client's Identity, if Authenticate does not know the caller. Nil
	// is none.
	Sessions *session.Options
	// Start is background work of each serving process, ended by ctx. An error ends
	// the process, which the master starts again after a backoff; nil before the end
	// of ctx means that there is nothing more to do.
	Start func(ctx context.Context, s *Services) error
	// Platform moves the platform's routes, or switches off some.
	Platform Platform
}

// UploadTask is a task for uploaded files. Its arguments are two strings, the
// directory and the filename.
type UploadTask struct {
	// Name is that of a task in Application.Tasks.
	Name string
	// Accepts reports whether the task is for a file of that name. Nil: for any.
	Accepts func(filename string) bool
}

// Identity is who sends a request.
//   - Subject and Scopes are the application's own words for the caller and what the
//     caller may do.
//   - Admin may do what -token may do on the platform's routes.
//   - Cookie says that the identity comes from a cookie. It counts only for pages of
//     this server and of -origins, and for links that a person follows.
type Identity = access.Identity

// IdentityOf returns who sent a request of the application's own routes; nil is an
// anonymous caller. A route whose Admit returns a value of its own has none.
func IdentityOf(ctx *fasthttp.RequestCtx) *Identity {
	id, _ := server.Admitted(ctx).(*Identity)
	return id
}

// program is the application as its configuration knows it.
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

// command is what is typed to run the application.
func (a *Application) command() string { return cmp.Or(a.Name, "server") }

// table returns the application's routes.
func (a *Application) table(s *Services) ([]server.Route, error) {
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
		own[i].Yields = true // a catch-all
		own[i].Middleware = slices.Concat(outer, a.Middleware, own[i].Middleware)
	}
	return own, errors.Join(s.faults...)
}

// background is Start as a function that lasts as long as the process.
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

// faults says what is wrong with an application whatever its flags are.
func (a *Application) faults() []error {
	all := a.Platform.faults()
	if _, err := jobs.NewRegistry(a.tasks()...); err != nil {
		return append(all, err)
	}
	for _, t := range a.UploadTasks {
		if !a.hasTask(t.Name) {
			all = append(all, fmt.Errorf("upload task %s: there is no task of that name", t.Name))
		}
	}
	if _, err := a.periodic(); err != nil {
		all = append(all, err)
	}
	return all
}
