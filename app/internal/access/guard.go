// Package access controls which requests may read and write. It checks the token, the
// console's session, the identities of the application, and the origin of the web page
// that sent the request.
package access

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"log/slog"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/server"
	"github.com/galeserver/gale/server/session"
	"github.com/galeserver/gale/server/upgrade"
)

// Options configure a Guard. The zero value admits every request, except writes from
// pages of other origins.
type Options struct {
	// Token is the administrator's bearer token; empty for none.
	Token string
	// Origins are the other origins whose pages may write. The server's own origin
	// always may.
	Origins server.Origins
	// HTTPS is true if the server itself serves TLS.
	HTTPS bool
	// Authenticate returns the sender of a request, or nil for an anonymous one. An
	// error becomes a 401 response, or has its own status if it is a *server.Error.
	Authenticate func(h *fasthttp.RequestHeader) (*Identity, error)
	// Session reads the session of a request's sender. If Authenticate returns nil, the
	// subject of the session is the sender. An error is treated like one of Authenticate.
	// Default: no sessions.
	Session func(h *fasthttp.RequestHeader) (*session.Session, error)
	// Logger gets the errors of Authenticate and Session. Default: none.
	Logger *slog.Logger
}

// Identity is the sender of a request.
type Identity struct {
	// Subject is the application's name for the sender. It is empty for the token.
	Subject string
	// Scopes are the rights of the sender. Only the application uses them.
	Scopes []string
	// Admin gives the sender the rights of the token.
	Admin bool
	// Cookie is true if the identity comes from a cookie. A browser sends cookies with
	// requests of any page.
	Cookie bool
}

// Guard checks requests. Its methods Read, Write and SameOrigin are values for
// server.Route.Admit; who is an *Identity, or nil.
type Guard struct {
	options  Options
	digest   *[sha256.Size]byte // SHA-256 of the token; nil if no token is set
	sessions sessions           // console sessions
}

// New returns a guard.
func New(o Options) *Guard {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	g := &Guard{options: o, sessions: newSessions(o.Token)}
	if o.Token != "" {
		digest := sha256.Sum256([]byte(o.Token))
		g.digest = &digest
	}
	return g
}

// HasToken reports whether a token is set.
func (g *Guard) HasToken() bool { return g.digest != nil }

// Write admits a request that Read admits, unless a page of another origin has sent it:
// that is refused with or without the token.
func (g *Guard) Write(h *fasthttp.RequestHeader) (who any, err error) {
	if err := g.origin(h); err != nil {
		return nil, err
	}
	return g.Read(h)
}

// SameOrigin refuses requests from pages of other origins. A browser lets every page send
// forms and open WebSockets to any server (RFC 6455 section 10.2).
func (g *Guard) SameOrigin(h *fasthttp.RequestHeader) (who any, err error) { return nil, g.origin(h) }

// Read admits a request of the administrator, or every request if no token is set. A
// request whose identity comes from a cookie must have been sent by a page of this server
// or of an allowed origin.
func (g *Guard) Read(h *fasthttp.RequestHeader) (who any, err error) {
	if g.digest == nil {
		return nil, nil
	}
	id, _, err := g.identify(h)
	switch {
	case err != nil:
		return nil, err
	case id == nil:
		return nil, errNoToken()
	case id.Cookie && !g.isSameOrigin(h):
		return nil, errOtherOrigin()
	case !id.Admin:
		return nil, errNotAdmin()
	}
	return id, nil
}

// Upload returns a value for server.Route.Admit like Write, for routes whose handlers need to
// know the sender. It calls Authenticate also if no token is set; an anonymous sender is then
// admitted. If open is true, each identified sender is admitted, not only the administrator.
func (g *Guard) Upload(open bool) func(h *fasthttp.RequestHeader) (who any, err error) {
	return func(h *fasthttp.RequestHeader) (any, error) {
		if err := g.origin(h); err != nil {
			return nil, err
		}
		id, read, err := g.identify(h)
		switch {
		case err != nil:
			return nil, err
		case id == nil && g.digest != nil:
			return nil, errNoToken()
		case g.digest != nil && !id.Admin && !open:
			return nil, errNotAdmin()
		}
		return admission(id, read), nil
	}
}

// errNoToken and errOtherOrigin return new values, because a response may be written
// into them.
func errNoToken() error {
	return &server.Error{Status: fasthttp.StatusUnauthorized, Reason: "a bearer token is needed", Challenge: `Bearer realm="gale"`}
}

func errOtherOrigin() error {
	return server.Fail(fasthttp.StatusForbidden, "refused: sent by a page of another origin, see -origins")
}

func errNotAdmin() error {
	return server.Fail(fasthttp.StatusForbidden, "only the administrator may do this")
}

func (g *Guard) origin(h *fasthttp.RequestHeader) error {
	if !g.isSameOrigin(h) {
		return errOtherOrigin()
	}
	return nil
}

// identify returns the sender of a request, or nil for an anonymous one. The token and
// the console's session have precedence over Authenticate, and that over the session.
// read is the session, or nil if identify did not need it.
func (g *Guard) identify(h *fasthttp.RequestHeader) (id *Identity, read *session.Session, err error) {
	given := string(h.Peek(fasthttp.HeaderAuthorization))
	if login := h.Cookie(sessionCookie); g.digest != nil && given == "" && len(login) > 0 && g.sessions.valid(string(login), time.Now()) {
		return &Identity{Admin: true, Cookie: true}, nil, nil
	}
	if scheme, token, _ := strings.Cut(given, " "); strings.EqualFold(scheme, "Bearer") && g.IsToken(token) {
		return &Identity{Admin: true}, nil, nil
	}
	if g.options.Authenticate != nil {
		if id, err = g.options.Authenticate(h); id != nil || err != nil {
			return id, nil, g.refusal(err)
		}
	}
	if g.options.Session == nil {
		return nil, nil, nil
	}
	if read, err = g.options.Session(h); err != nil {
		return nil, nil, g.refusal(err)
	}
	if subject := read.Subject(); subject != "" {
		id = &Identity{Subject: subject, Cookie: true}
	}
	return id, read, nil
}

// refusal returns the response for an error of Authenticate or Session.
func (g *Guard) refusal(err error) error {
	if err == nil {
		return nil
	}
	if own, ok := err.(*server.Error); ok { //nolint:errorlint // a wrapped server.Error is an internal error
		return own
	}
	g.options.Logger.Log(context.Background(), slog.LevelDebug, "request not authenticated", "error", err)
	return &server.Error{Status: fasthttp.StatusUnauthorized, Reason: "not authenticated", Challenge: `Bearer realm="gale"`}
}

// IsToken reports whether token is the administrator's. It compares digests, so that its
// duration does not depend on the token.
func (g *Guard) IsToken(token string) bool {
	digest := sha256.Sum256([]byte(strings.TrimSpace(token)))
	return g.digest != nil && subtle.ConstantTimeCompare(digest[:], g.digest[:]) == 1
}

// isSameOrigin reports whether a request comes from a page of this server or of an allowed
// origin, or not from a web page at all. It reads Sec-Fetch-Site (Fetch Metadata section
// 2.3), or Origin if that is missing (see server.SameOrigin). A client that sends neither
// is not a browser.
func (g *Guard) isSameOrigin(h *fasthttp.RequestHeader) bool {
	origin := string(h.Peek(fasthttp.HeaderOrigin))
	if g.options.Origins.Match([]byte(origin)) {
		return true
	}
	switch server.List(h, "Sec-Fetch-Site") {
	case "same-origin", "none":
		return true
	case "":
		if origin == "" {
			return true
		}
		return server.SameOrigin(h, origin, g.options.HTTPS)
	}
	return false
}

// WithToken returns an Admit function that also accepts the token as a subprotocol.
// Browsers can send it with a WebSocket handshake only in this way.
func WithToken(admit func(*fasthttp.RequestHeader) (any, error)) func(*fasthttp.RequestHeader) (any, error) {
	return func(h *fasthttp.RequestHeader) (any, error) {
		if isHandshake(h) {
			useOfferedToken(h)
		}
		return admit(h)
	}
}

// isHandshake reports whether a request may be a WebSocket handshake (RFC 6455 section 4.1).
func isHandshake(h *fasthttp.RequestHeader) bool { return len(h.Peek(fasthttp.HeaderUpgrade)) > 0 }

// useOfferedToken makes a token in the subprotocols of a handshake its Authorization.
func useOfferedToken(h *fasthttp.RequestHeader) {
	if len(h.Peek(fasthttp.HeaderAuthorization)) > 0 {
		return
	}
	if token, offered := upgrade.Bearer(h); offered {
		h.Set(fasthttp.HeaderAuthorization, "Bearer "+token)
	}
}
