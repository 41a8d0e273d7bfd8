package middleware

import (
	"encoding/base64"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/server"
)

// userKey is the key of the user's name in the user values of a request.
type userKey struct{}

// BasicAuth admits requests with a user name and a password that check accepts (RFC
// 7617). All other requests get a 401 response, after which browsers ask the user for both.
// These include requests without the field Authorization, with another scheme, or with
// credentials that are not base64 or UTF-8, have no colon, or contain control characters. If
// the field is repeated, the server sends a 400 response.
//
// check is called for each request, from many goroutines at once. It should compare by
// Equal or with a password hash. Handlers get the user's name from UserOf. realm names what the
// password is for; browsers may show it. It should be printable ASCII, other characters
// are left out.
//
// The password is sent in clear: use TLS. The middleware runs after the check of -token
// and Application.Authenticate, and knows neither: see the section Authentication in
// docs/reference/handlers.md.
func BasicAuth(realm string, check func(user, password string) bool) server.Middleware {
	challenge := "Basic realm=" + quote(realm) + `, charset="UTF-8"`
	return func(next server.Handler) server.Handler {
		if check == nil {
			panic("middleware.BasicAuth: check is nil")
		}
		return func(ctx *fasthttp.RequestCtx) error {
			encoded := credentials(&ctx.Request.Header, "Basic")
			if encoded == "" {
				return unauthorized("a user name and a password are needed", challenge)
			}
			user, password, ok := readBasic(encoded)
			if !ok || !check(user, password) {
				return unauthorized("wrong user name or password", challenge)
			}
			ctx.SetUserValue(userKey{}, user)
			return next(ctx)
		}
	}
}

// readBasic reads credentials (RFC 7617 §2). A user name has no colon.
func readBasic(encoded string) (user, password string, ok bool) {
	text, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || !utf8.Valid(text) || strings.ContainsFunc(string(text), unicode.IsControl) {
		return "", "", false
	}
	return strings.Cut(string(text), ":")
}

// UserOf returns the name of the user that BasicAuth has admitted, or "".
func UserOf(ctx *fasthttp.RequestCtx) string {
	user, _ := ctx.UserValue(userKey{}).(string)
	return user
}
