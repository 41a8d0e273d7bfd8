package app

import (
	"errors"
	"net/url"
	"os"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/app/internal/config"
	"github.com/galeserver/gale/app/internal/routes"
	"github.com/galeserver/gale/server"
	"github.com/galeserver/gale/server/static"
	"github.com/galeserver/gale/server/templates"
)

// templatesFor sets s.Templates to the templates of -templates or of the application. Pages
// contain the script of reloads, which may be nil.
func (a *Application) templatesFor(c config.Config, s *Services, reloads *routes.Reloads) error {
	folder := a.Templates
	if c.Templates != "" {
		root, err := os.OpenRoot(c.Templates)
		if err != nil {
			return config.Faults{"-templates: " + err.Error()}
		}
		defer root.Close() //nolint:errcheck // only read from, and not after New
		folder = root.FS()
	}
	if folder == nil {
		return nil
	}
	o := templates.Options{StaticURL: s.StaticURL, Funcs: a.TemplateFuncs}
	if reloads != nil {
		o.BodyEnd = reloads.Script
	}
	var err error
	s.Templates, err = templates.New(folder, o)
	if err != nil {
		return config.Faults{err.Error()}
	}
	return nil
}

// openPages opens the folder of -static and parses the templates.
func (a *Application) openPages(c config.Config, d *routes.Deps, s *Services) (closeStatic func() error, err error) {
	closeStatic = func() error { return nil }
	s.staticBase = a.Platform.Prefix + "/static/"
	if c.Static != "" {
		if d.Static, err = static.Open(c.Static, static.Options{Base: s.staticBase, Logger: s.Log}); err != nil {
			return nil, err
		}
		s.static, closeStatic = d.Static, d.Static.Close
	}
	if d.Reloads, err = a.newReloads(c, d.Hub, s.Log); err == nil {
		err = a.templatesFor(c, s, d.Reloads)
	}
	if err != nil {
		return nil, errors.Join(err, closeStatic())
	}
	return closeStatic, nil
}

// StaticURL returns the URL of a file of -static as the client of the request must request
// it, with a hash of its content; see static.Folder.URL. The template function static_url
// returns the same. If there is no such file, the URL has no hash and an error is logged.
func (s *Services) StaticURL(ctx *fasthttp.RequestCtx, name string) string {
	if s.static == nil {
		s.noStatic.Do(func() { // templates call it for every request
			s.Log.Error("static files not found, their URLs have no hash: set -static", "name", name)
		})
		return server.Link(ctx, (&url.URL{Path: s.staticBase + name}).EscapedPath())
	}
	return server.Link(ctx, s.static.URL(name))
}
