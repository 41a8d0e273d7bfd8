// Command blog is a port of Tornado's demos/blog. An author writes entries in Markdown.
// Readers have the latest entries, an archive and an Atom feed. The first person who opens
// /auth/create becomes the author.
//
// Entries and the author are in SQLite, which all processes use at the same time; the
// login is in a session, which all processes share.
//
//	go run ./docs/example/blog -port 8000 -procs 2 -static docs/example/blog/static
//
// Then open http://127.0.0.1:8000/.
package main

import (
	"context"
	"embed"
	"flag"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/app"
	"github.com/galeserver/gale/server"
	"github.com/galeserver/gale/server/session"
)

// all: is needed for the files whose names begin with an underscore.
//
//go:embed all:templates
var files embed.FS

func main() { app.Main(application()) }

func application() app.Application {
	b := &blog{}
	pages, _ := fs.Sub(files, "templates") // fails only for a path that is not valid
	return app.Application{
		Name: "blog", Flags: b.flags, Templates: pages, Sessions: &session.Options{Lifetime: 30 * 24 * time.Hour},
		Middleware: []server.Middleware{retryWhenBusy}, Routes: b.routes, Start: b.start,
	}
}

// blog holds the values of the flags.
type blog struct{ title, database string }

func (b *blog) flags(f *flag.FlagSet) {
	f.StringVar(&b.title, "title", "Gale Blog", "`title` of the blog")
	f.StringVar(&b.database, "database", "", "SQLite `file` of the blog, on a local disk (default app/blog.db in -data)")
}

// file returns the path of the database.
func (b *blog) file(s *app.Services) string {
	if b.database != "" {
		return b.database
	}
	return filepath.Join(s.Data, "blog.db")
}

// start opens the database once in each serving process. If that fails, the log says why,
// and the process starts again after a while.
func (b *blog) start(ctx context.Context, s *app.Services) error {
	db, err := open(ctx, b.file(s))
	if err != nil {
		return err
	}
	return db.Close()
}

// routes returns the routes of Tornado's demo. Logout is a POST here: a GET could be sent
// by an image in a page of another site.
func (b *blog) routes(s *app.Services) ([]server.Route, error) {
	p := &pages{title: b.title, services: s, store: &store{path: b.file(s)}}
	author := []server.Middleware{app.Require("/auth/login")}
	return []server.Route{
		{Method: "GET", Path: "/", Handler: p.home},
		{Method: "GET", Path: "/archive", Handler: p.archive},
		{Method: "GET", Path: "/feed", Handler: p.feed},
		{Method: "GET", Path: "/entry/{slug}", Handler: p.entry},
		{Method: "GET", Path: "/compose", Handler: p.compose, Middleware: author},
		{Method: "POST", Path: "/compose", Handler: p.save, Middleware: author},
		{Method: "GET", Path: "/auth/create", Handler: p.createForm},
		{Method: "POST", Path: "/auth/create", Handler: p.create, Public: true},
		{Method: "GET", Path: "/auth/login", Handler: p.loginForm},
		{Method: "POST", Path: "/auth/login", Handler: p.login, Public: true},
		{Method: "POST", Path: "/auth/logout", Handler: p.logout, Public: true},
	}, nil
}

// retryWhenBusy sends 503 if another process has locked the database for longer than
// busyTimeout.
func retryWhenBusy(next server.Handler) server.Handler {
	return func(ctx *fasthttp.RequestCtx) error {
		err := next(ctx)
		if isBusy(err) {
			return &server.Error{Status: fasthttp.StatusServiceUnavailable, Reason: "the database is busy, try again", RetryAfter: time.Second, Err: err}
		}
		return err
	}
}
