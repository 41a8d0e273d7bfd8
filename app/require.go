package app

import (
	"net/url"
	"slices"
	"strings"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/server"
)

// Require lets only callers with an Identity through that has all scopes; an
// administrator has all. Put it into Middleware of a route or of the application.
//
// An anonymous caller that reads a page is redirected (303) to login, a path of this
// server, with the path it wanted as the parameter next, see Next. Any other anonymous
// request gets 401, as do all if login is empty. A caller without a scope gets 403.
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

// Next returns where to go after a login: the path in the parameter next, which Require
// has put there, or else the path of the server's root. What is not a path of this server
// counts as missing: another site may have written the link.
func Next(ctx *fasthttp.RequestCtx) string {
	path, _ := server.QueryText(ctx, "next")
	local := strings.HasPrefix(path, "/") && !strings.HasPrefix(path, "//") &&
		!strings.ContainsFunc(path, func(r rune) bool { return r < ' ' || r == '\\' || r == 0x7f })
	if !local {
		path = "/"
	}
	return server.Link(ctx, path)
}
