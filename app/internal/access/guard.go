// Package access decides which requests may read and write: by the token, by the
// console's session, by the application's own identities, and by the origin of the
// page that a browser sent them for.
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
	"github.com/galeserver/gale/server/upgrade"
)

// Options configure a Guard. The zero value lets everybody in.
type Options struct {
	// Token is what the administrator sends; empty for none.
	Token string
	// Origins may write from a browser, beside the server's own.
	Origins server.Origins
	// HTTPS says that the server itself speaks TLS.
	HTTPS bool
	// Authenticate says who sends a request, for an application that knows: nil is
	// an anonymous caller, an error is 401, or its own status if it is a *server.Error.
	Authenticate func(h *fasthttp.RequestHeader) (*Identity, error)
	// Logger gets the errors of Authenticate. Default: nowhere.
	Logger *slog.Logger
}

// Identity is who sends a request.
type Identity struct {
	// Subject names the caller in the application's own terms. Empty for the token.
	Subject string
	// Scopes are what the caller may do, for the application itself to read.
	Scopes []string
	// Admin may do what the token may do.
	Admin bool
	// Cookie says that the identity comes from a cookie, which a browser sends by
	// itself, whichever page made it send the request.
	Cookie bool
}

// Guard admits requests. Its methods Read, Write and Page are for
// server.Route.Admit; who is an *Identity, or nil.
type Guard struct {
	options  Options
	digest   *[sha256.Size]byte // of the token; nil: none is set
	sessions sessions           // of those who gave the token at the console
}

// New makes a guard.
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

// Secret reports whether a token is set.
func (g *Guard) HasToken() bool { return g.digest != nil }

// Write admits a request that carries the token, where one is set, and that no
// foreign page has sent.
func (g *Guard) Write(h *fasthttp.RequestHeader) (who any, err error) {
	if who, err = g.Read(h); err != nil {
		return who, err
	}
	return who, g.origin(h)
}

// Page refuses what a page of another origin has sent: a browser lets every page
// send a form, or open a WebSocket, to anywhere (RFC 6455 §10.2).
func (g *Guard) SameOrigin(h *fasthttp.RequestHeader) (who any, err error) { return nil, g.origin(h) }

// Read admits a request of the administrator, where a token is set. An identity
// that comes from a cookie counts for pages of this server only, also where nothing
// is written.
func (g *Guard) Read(h *fasthttp.RequestHeader) (who any, err error) {
	if g.digest == nil {
		return nil, nil
	}
	id, err := g.identify(h)
	switch {
	case err != nil:
		return nil, err
	case id == nil:
		return nil, errNoToken()
	case id.Cookie && !g.isSameOrigin(h):
		return nil, errOtherOrigin()
	case !id.Admin:
		return nil, server.Fail(fasthttp.StatusForbidden, "only the administrator may do this")
	}
	return id, nil
}

// errNoToken and errOtherOrigin are made anew: a response may be written from them.
func errNoToken() error {
	return &server.Error{Status: fasthttp.StatusUnauthorized, Reason: "a bearer token is needed", Challenge: `Bearer realm="gale"`}
}

func errOtherOrigin() error {
	return server.Fail(fasthttp.StatusForbidden, "refused: sent by a page of another origin, see -origins")
}

func (g *Guard) origin(h *fasthttp.RequestHeader) error {
	if !g.isSameOrigin(h) {
		return errOtherOrigin()
	}
	return nil
}

// identify returns who sends a request; nil is an anonymous caller. The token and
// the console's session come first.
func (g *Guard) identify(h *fasthttp.RequestHeader) (*Identity, error) {
	given := string(h.Peek(fasthttp.HeaderAuthorization))
	if session := h.Cookie(sessionCookie); g.digest != nil && given == "" && len(session) > 0 && g.sessions.valid(string(session), time.Now()) {
		return &Identity{Admin: true, Cookie: true}, nil
	}
	if scheme, token, _ := strings.Cut(given, " "); strings.EqualFold(scheme, "Bearer") && g.IsToken(token) {
		return &Identity{Admin: true}, nil
	}
	if g.options.Authenticate == nil {
		return nil, nil
	}
	id, err := g.options.Authenticate(h)
	if err == nil {
		return id, nil
	}
	if own, ok := err.(*server.Error); ok { //nolint:errorlint // a wrapped one is an internal error
		return nil, own
	}
	g.options.Logger.Log(context.Background(), slog.LevelDebug, "request not authenticated", "error", err)
	return nil, &server.Error{Status: fasthttp.StatusUnauthorized, Reason: "not authenticated", Challenge: `Bearer realm="gale"`}
}

// Matches reports whether token is the one that is set. Comparing digests takes
// the same time whatever its length.
func (g *Guard) IsToken(token string) bool {
	digest := sha256.Sum256([]byte(strings.TrimSpace(token)))
	return g.digest != nil && subtle.ConstantTimeCompare(digest[:], g.digest[:]) == 1
}

// sameOrigin reports whether a browser, if it was one, sent the request for a
// page of this server or of a trusted origin: Sec-Fetch-Site (Fetch Metadata
// §2.3) where there is one, else Origin (see server.SameOrigin). What sends
// neither is no browser that could be misused.
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

// WithToken lets a token through that came as a subprotocol, as a browser sends it
// with a WebSocket's handshake.
func WithToken(admit func(*fasthttp.RequestHeader) (any, error)) func(*fasthttp.RequestHeader) (any, error) {
	return func(h *fasthttp.RequestHeader) (any, error) {
		if token, offered := upgrade.Bearer(h); offered && len(h.Peek(fasthttp.HeaderAuthorization)) == 0 {
			h.Set(fasthttp.HeaderAuthorization, "Bearer "+token)
		}
		return admit(h)
	}
}
