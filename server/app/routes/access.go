package routes

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/url"
	"slices"
	"strings"

	"github.com/valyala/fasthttp"

	"gale/server"
)

// access decides who may write and, where a token is set, who may read.
type access struct {
	digest  *[sha256.Size]byte // of the token; nil: none is set
	origins []string
}

func newAccess(token string, origins []string) access {
	a := access{}
	for _, o := range origins {
		a.origins = append(a.origins, strings.ToLower(strings.TrimSuffix(o, "/")))
	}
	if token != "" {
		digest := sha256.Sum256([]byte(token))
		a.digest = &digest
	}
	return a
}

// write lets a request through that carries the token, where one is set, and
// that no foreign page has sent. It is for server.Route.Admit.
func (a access) write(h *fasthttp.RequestHeader) error {
	if err := a.read(h); err != nil {
		return err
	}
	if !a.sameOrigin(h) {
		return server.Fail(fasthttp.StatusForbidden, "refused: sent by a page of another origin, see -origins")
	}
	return nil
}

// read lets a request through that carries the token, where one is set.
func (a access) read(h *fasthttp.RequestHeader) error {
	if a.digest == nil {
		return nil
	}
	scheme, token, _ := strings.Cut(string(h.Peek(fasthttp.HeaderAuthorization)), " ")
	digest := sha256.Sum256([]byte(strings.TrimSpace(token)))
	// Comparing digests takes the same time whatever the token's length.
	if !strings.EqualFold(scheme, "Bearer") || subtle.ConstantTimeCompare(digest[:], a.digest[:]) != 1 {
		return &server.Error{Status: fasthttp.StatusUnauthorized, Reason: "a bearer token is needed", Challenge: `Bearer realm="gale"`}
	}
	return nil
}

// sameOrigin reports whether a browser, if it was one, sent the request for a
// page of this server or of a trusted origin: Sec-Fetch-Site (Fetch Metadata
// §2.3) where there is one, else Origin (RFC 6454 §7) against Host. What sends
// neither is no browser that could be misused.
func (a access) sameOrigin(h *fasthttp.RequestHeader) bool {
	origin := strings.ToLower(string(h.Peek(fasthttp.HeaderOrigin)))
	if origin != "" && slices.Contains(a.origins, origin) {
		return true
	}
	switch string(h.Peek("Sec-Fetch-Site")) {
	case "same-origin", "none":
		return true
	case "":
		if origin == "" {
			return true
		}
		u, err := url.Parse(origin)
		return err == nil && u.Host != "" && strings.EqualFold(u.Host, string(h.Host()))
	}
	return false
}
