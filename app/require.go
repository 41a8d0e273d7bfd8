package app

import (
	"net/url"
	"slices"
	"strings"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/server"
)

// Require admits only callers whose Identity has all scopes. An administrator has every
// scope. Put it into Middleware of a route or of the application.
//
// An anonymous GET or HEAD request is redirected (303) to login, a path of this server, with
// the requested path as the parameter next; see Next. If login is empty, or for other
// methods, it gets a 401 response. A caller that lacks a scope gets a 403 response.
func Require(login string, scopes ...string) server.Middleware {
	return func(next server.Handler) server.Handler {
		return func(ctx *fasthttp.RequestCtx) error {
			id := IdentityOf(ctx)
			switch {
			case id == nil && login != "" && (ctx.IsGet() || ctx.IsHead()):
				target := server.Link(ctx, login) + "?next=" + url.QueryEscape(string(ctx.URI().RequestURI()))
				ctx.Response.Header.Set(fasthttp.HeaderLocation, target)
				ctx.SetStatusCode(fasthttp.StatusSeeOther)
				return nil
			case id == nil:
				return &server.Error{Status: fasthttp.StatusUnauthorized, Reason: "log in first", Challenge: `Bearer realm="gale"`}
			}
			for _, scope := range scopes {
				if !id.Admin && !slices.Contains(id.Scopes, scope) {
					return server.Fail(fasthttp.StatusForbidden, "this needs the scope "+scope)
				}
			}
			return next(ctx)
		}
	}
}

// Next returns the path to redirect to after a login: that of the parameter next, which
// Require has set, or else the root of the server. Values that are not a path of this
// server are ignored, because another site may have made the link.
func Next(ctx *fasthttp.RequestCtx) string {
	path, _ := server.QueryText(ctx, "next")
	local := strings.HasPrefix(path, "/") && !strings.HasPrefix(path, "//") &&
		!strings.ContainsFunc(path, func(r rune) bool { return r < ' ' || r == '\\' || r == 0x7f })
	if !local {
		path = "/"
	}
	return server.Link(ctx, path)
}
