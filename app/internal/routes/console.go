package routes

import (
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/app/internal/access"
	"github.com/galeserver/gale/app/internal/console"
	"github.com/galeserver/gale/server"
	"github.com/galeserver/gale/server/limit"
	"github.com/galeserver/gale/server/realtime"
)

const (
	consolePath = "/console"
	loginPath   = "/console/login"
	// Limit on login attempts of one client, over all processes.
	guesses, guessWindow = 10, time.Minute
	// maxLogin is the largest body of the login form, in bytes.
	maxLogin = 8 << 10
	// consolePolicy allows the console's own files and nothing else.
	consolePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; connect-src 'self'; " +
		"form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)

// consoleRoutes are the routes of the console.
type consoleRoutes struct {
	guard   *access.Guard
	prefix  string // path prefix of these routes
	hub     *realtime.Hub
	console *console.Console
	files   map[string]console.File
	guesses *limit.Limiter
	log     *slog.Logger
}

func newConsoleRoutes(d Deps) []server.Route {
	files, err := console.Files()
	c := &consoleRoutes{
		guard: d.Guard, prefix: d.Prefix, hub: d.Hub, console: d.Console, files: files, log: d.Logger,
		guesses: limit.New(d.Redis, limit.Options{Name: "login", Limit: guesses, Window: guessWindow}),
	}
	if err != nil { // cannot happen: a test reads all files
		d.Logger.Error("console is off, its files cannot be read", "error", err)
		return nil
	}
	guard := d.Guard
	get, post := fasthttp.MethodGet, fasthttp.MethodPost
	return []server.Route{
		// The files are the same for everybody and contain no secrets.
		{Method: get, Path: consolePath, Handler: c.page, Compress: true},
		{Method: get, Path: consolePath + "/{file}", Admit: guard.Read, Handler: c.file, Compress: true},
		{Method: get, Path: consolePath + "/" + console.StyleFile, Handler: c.style, Compress: true},
		{Method: get, Path: consolePath + "/live", Admit: access.WithToken(guard.Write), Handler: c.live},
		{Method: get, Path: consolePath + "/history", Admit: guard.Read, Handler: c.history, Compress: true},
		{Method: get, Path: loginPath, Handler: c.login},
		{Method: post, Path: loginPath, Admit: guard.SameOrigin, Handler: c.enter, MaxBody: maxLogin},
		{Method: post, Path: consolePath + "/logout", Admit: guard.SameOrigin, Handler: c.leave},
	}
}

// page is GET /console: the page, or a redirect to the login.
func (c *consoleRoutes) page(ctx *fasthttp.RequestCtx) error {
	if _, err := c.guard.Read(&ctx.Request.Header); err != nil {
		return c.seeOther(ctx, loginPath)
	}
	return c.send(ctx, console.PageFile, fasthttp.StatusOK)
}

// file is GET /console/{file}, except for HTML pages, which have routes of their own.
func (c *consoleRoutes) file(ctx *fasthttp.RequestCtx) error {
	name := server.Param(ctx, "file")
	if _, ok := c.files[name]; !ok || strings.HasSuffix(name, ".html") {
		return server.Fail(fasthttp.StatusNotFound, "not found")
	}
	return c.send(ctx, name, fasthttp.StatusOK)
}

// style is GET /console/style.css, which the login page needs too.
func (c *consoleRoutes) style(ctx *fasthttp.RequestCtx) error {
	return c.send(ctx, console.StyleFile, fasthttp.StatusOK)
}

// send responds with a file of the console. Browsers must revalidate it every time,
// because a reload may replace it by the file of another release.
func (c *consoleRoutes) send(ctx *fasthttp.RequestCtx, name string, status int) error {
	f := c.files[name]
	h := &ctx.Response.Header
	h.Set(fasthttp.HeaderContentSecurityPolicy, consolePolicy)
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set(fasthttp.HeaderCacheControl, "private, no-cache")
	h.SetContentType(f.Type)
	ctx.SetStatusCode(status)
	if status == fasthttp.StatusOK {
		h.Set(fasthttp.HeaderETag, f.ETag)
		v := validator{etag: f.ETag}
		if changed := v.precondition(&ctx.Request.Header); changed != 0 {
			ctx.SetStatusCode(changed)
			return nil
		}
	}
	ctx.Response.SetBodyRaw(f.Body)
	return nil
}

// live is WS /console/live.
func (c *consoleRoutes) live(ctx *fasthttp.RequestCtx) error {
	return c.hub.Upgrade(ctx, realtime.Upgrade{Handler: c.console.Page()})
}

// login is GET /console/login.
func (c *consoleRoutes) login(ctx *fasthttp.RequestCtx) error {
	if _, err := c.guard.Read(&ctx.Request.Header); err == nil {
		return c.seeOther(ctx, consolePath)
	}
	return c.send(ctx, console.LoginFile, fasthttp.StatusOK)
}

// enter is POST /console/login: it creates a session if the token is right.
func (c *consoleRoutes) enter(ctx *fasthttp.RequestCtx) error {
	if !c.guard.HasToken() {
		return c.seeOther(ctx, consolePath)
	}
	d, err := c.guesses.Take(ctx, guesser(server.Client(ctx)))
	if err == nil {
		d.WriteHeader(&ctx.Response.Header)
	}
	if err == nil && !d.Granted {
		c.log.Warn("console: too many login attempts", "client", server.Client(ctx))
		return c.send(ctx, console.LateFile, fasthttp.StatusTooManyRequests)
	}
	body, err := server.ReadAll(ctx)
	if err != nil {
		return err
	}
	form, err := server.FormArgs(ctx, body)
	if err != nil {
		return server.Fail(fasthttp.StatusBadRequest, err.Error())
	}
	if !c.guard.IsToken(string(form.Peek("token"))) {
		c.log.Warn("console: login with a wrong token", "client", server.Client(ctx))
		// A 401 response would need WWW-Authenticate (RFC 9110 section 15.5.2).
		return c.send(ctx, console.WrongFile, fasthttp.StatusForbidden)
	}
	c.log.Info("console: login", "client", server.Client(ctx))
	ctx.Response.Header.SetCookie(c.guard.NewSession(server.Scheme(ctx), server.Link(ctx, c.prefix)))
	return c.seeOther(ctx, consolePath)
}

// guesser returns the key under which the login attempts of a client are counted. For
// IPv6 it is the /64 network, in which a host can choose any address (RFC 8981).
func guesser(client netip.Addr) string {
	if network, err := client.Prefix(64); err == nil && client.Is6() {
		return network.String()
	}
	return client.String()
}

// leave is POST /console/logout: it removes the browser's session cookie.
func (c *consoleRoutes) leave(ctx *fasthttp.RequestCtx) error {
	ctx.Response.Header.SetCookie(c.guard.EndSession(server.Scheme(ctx), server.Link(ctx, c.prefix)))
	return c.seeOther(ctx, loginPath)
}

// seeOther redirects a browser to another page (RFC 9110 section 15.4.4). The location has
// no host, because the server may be behind a proxy with another host name.
func (c *consoleRoutes) seeOther(ctx *fasthttp.RequestCtx, path string) error {
	ctx.Response.Header.Set(fasthttp.HeaderLocation, server.Location(ctx, c.prefix+path))
	ctx.Response.Header.Set(fasthttp.HeaderCacheControl, "no-store")
	ctx.SetStatusCode(fasthttp.StatusSeeOther)
	return nil
}
