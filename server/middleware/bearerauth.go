package middleware

import (
	"context"
	"strings"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/server"
)

// callerKey is the key of the caller in the user values of a request.
type callerKey struct{}

// BearerAuth admits requests with a token that check knows (RFC 6750). Handlers get the
// result of check from CallerOf.
//
// A request without a token gets a 401 response, and one with a token for which check
// returns nil, or with characters that a token cannot have, a 401 response with the error
// code invalid_token. If the field Authorization is repeated, the server sends a 400
// response. Tokens in the query string or in a form are not read (RFC 9700 §4.3.2).
//
// An error of check means that it could not decide, for example because a database was not
// available. It becomes a response as if a handler had returned it: 500, or that of a
// *server.Error, such as 403. ctx of check is that of server.Context. check is called for
// each request, from many goroutines at once, and should compare secrets by Equal.
//
// realm is as for BasicAuth. The middleware runs after the check of -token and
// Application.Authenticate, and knows neither: see the section Authentication in
// docs/reference/handlers.md.
func BearerAuth[T any](realm string, check func(ctx context.Context, token string) (*T, error)) server.Middleware {
	challenge := "Bearer realm=" + quote(realm)
	return func(next server.Handler) server.Handler {
		if check == nil {
			panic("middleware.BearerAuth: check is nil")
		}
		return func(ctx *fasthttp.RequestCtx) error {
			token := credentials(&ctx.Request.Header, "Bearer")
			if token == "" {
				return unauthorized("a bearer token is needed", challenge)
			}
			var caller *T
			if validToken(token) {
				var err error
				if caller, err = check(server.Context(ctx), token); err != nil {
					return err
				}
			}
			if caller == nil {
				return unauthorized("the token is not valid", challenge+`, error="invalid_token"`)
			}
			ctx.SetUserValue(callerKey{}, caller)
			return next(ctx)
		}
	}
}

// validToken reports whether token consists of visible ASCII characters. RFC 6750 §2.1
// allows fewer, but other servers accept all of them.
func validToken(token string) bool {
	return !strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' })
}

// CallerOf returns what check of BearerAuth has returned for the token of the request. It
// is nil for a route without BearerAuth, and if check returns another type.
func CallerOf[T any](ctx *fasthttp.RequestCtx) *T {
	caller, _ := ctx.UserValue(callerKey{}).(*T)
	return caller
}
