package routes

import (
	"crypto/sha256"
	"crypto/subtle"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/server"
	"github.com/galeserver/gale/server/upgrade"
)

// access decides who may write and, where a token is set, who may read.
type access struct {
	digest   *[sha256.Size]byte // of the token; nil: none is set
	sessions sessions           // of those who gave the token at the console
	origins  server.Origins
	https    bool // the server itself speaks TLS
}

func newAccess(token string, origins server.Origins) access {
	a := access{sessions: newSessions(token), origins: origins}
	if token != "" {
		digest := sha256.Sum256([]byte(token))
		a.digest = &digest
	}
	return a
}

// write lets a request through that carries the token, where one is set, and
// that no foreign page has sent. It is for server.Route.Admit.
func (a access) write(h *fasthttp.RequestHeader) (who any, err error) {
	if who, err = a.read(h); err != nil {
		return who, err
	}
	return a.page(h)
}

// page refuses what a page of another origin has sent: a browser lets every page
// send a form, or open a WebSocket, to anywhere (RFC 6455 §10.2).
func (a access) page(h *fasthttp.RequestHeader) (who any, err error) {
	if !a.sameOrigin(h) {
		return nil, server.Fail(fasthttp.StatusForbidden, "refused: sent by a page of another origin, see -origins")
	}
	return nil, nil
}

// read lets a request through that carries the token, where one is set, or the
// console's session. A session is a cookie, which a browser sends by itself: it
// counts for pages of this server only, also where nothing is written.
func (a access) read(h *fasthttp.RequestHeader) (who any, err error) {
	if a.digest == nil {
		return nil, nil
	}
	given := string(h.Peek(fasthttp.HeaderAuthorization))
	if session := h.Cookie(sessionCookie); given == "" && len(session) > 0 && a.sessions.holds(string(session), time.Now()) {
		return a.page(h)
	}
	scheme, token, _ := strings.Cut(given, " ")
	if !strings.EqualFold(scheme, "Bearer") || !a.matches(token) {
		return nil, &server.Error{Status: fasthttp.StatusUnauthorized, Reason: "a bearer token is needed", Challenge: `Bearer realm="gale"`}
	}
	return nil, nil
}

// matches reports whether token is the one that is set. Comparing digests takes
// the same time whatever its length.
func (a access) matches(token string) bool {
	digest := sha256.Sum256([]byte(strings.TrimSpace(token)))
	return a.digest != nil && subtle.ConstantTimeCompare(digest[:], a.digest[:]) == 1
}

// sameOrigin reports whether a browser, if it was one, sent the request for a
// page of this server or of a trusted origin: Sec-Fetch-Site (Fetch Metadata
// §2.3) where there is one, else Origin (see server.SameOrigin). What sends
// neither is no browser that could be misused.
func (a access) sameOrigin(h *fasthttp.RequestHeader) bool {
	origin := string(h.Peek(fasthttp.HeaderOrigin))
	if a.origins.Match([]byte(origin)) {
		return true
	}
	switch server.List(h, "Sec-Fetch-Site") {
	case "same-origin", "none":
		return true
	case "":
		if origin == "" {
			return true
		}
		return server.SameOrigin(h, origin, a.https)
	}
	return false
}

// withToken lets a token through that came as a subprotocol, as a browser sends it
// with a WebSocket's handshake.
func withToken(admit func(*fasthttp.RequestHeader) (any, error)) func(*fasthttp.RequestHeader) (any, error) {
	return func(h *fasthttp.RequestHeader) (any, error) {
		if token, offered := upgrade.Bearer(h); offered && len(h.Peek(fasthttp.HeaderAuthorization)) == 0 {
			h.Set(fasthttp.HeaderAuthorization, "Bearer "+token)
		}
		return admit(h)
	}
}
