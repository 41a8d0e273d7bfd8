package server

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/valyala/fasthttp"
)

// headerPrivateNetwork asks in a preflight whether a page of the internet may
// reach a server of a private network (Private Network Access §3.2).
const (
	headerPrivateNetwork      = "Access-Control-Request-Private-Network"
	headerAllowPrivateNetwork = "Access-Control-Allow-Private-Network"
)

// preflightAge is how long a browser may keep the response to a preflight, in
// seconds. Chromium caps it at two hours, Firefox at a day.
const preflightMaxAge = "7200"

// requestFields are what a page of another origin may send to any route, beside
// the fields of Options.RequestFields.
var requestFields = []string{
	"Accept", "Accept-Language", "Authorization", "Cache-Control", "Content-Digest", "Content-Language", "Content-Type", "If-Match",
	"If-Modified-Since", "If-None-Match", "If-Range", "If-Unmodified-Since", "Last-Event-ID", "Pragma", "Range", "Repr-Digest",
	"X-Request-ID", "X-Requested-With",
}

// responseFields are what its scripts may read of any response, beside the
// safelisted ones (Fetch §2.2.2) and Options.ResponseFields.
var responseFields = []string{
	"Accept-Ranges", "Allow", "Content-Digest", "Content-Disposition", "Content-Encoding", "Content-Range", "Date", "Digest", "ETag",
	"Link", "Location", "RateLimit", "RateLimit-Policy", "Repr-Digest", "Retry-After", "Server", "WWW-Authenticate", "X-Request-ID",
}

// usualMethods are the order in which methods are listed; others follow.
var methodOrder = []string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions,
}

// cors lets pages of other origins use the server (Fetch §3.2). It adds its
// fields where every response passes, errors included: without them a page
// cannot tell a refusal from a lost connection. Nothing says
// Access-Control-Allow-Credentials: what identifies a caller from elsewhere is
// the token in a field, never a cookie.
type cors struct {
	origins       Origins
	allow, expose string // lists of fields that may be sent, and read
}

// newCORS returns nil if there are no other origins.
func newCORS(o Options) (*cors, error) {
	for _, name := range slices.Concat(o.RequestFields, o.ResponseFields) {
		if !ValidField(name) {
			return nil, fmt.Errorf("field %q: not the name of a header field", name)
		}
	}
	if o.Origins.Empty() {
		return nil, nil
	}
	return &cors{
		origins: o.Origins,
		allow:   strings.Join(slices.Concat(requestFields, o.RequestFields), ", "),
		expose:  strings.Join(slices.Concat(responseFields, o.ResponseFields), ", "),
	}, nil
}

// ValidField reports whether name is one that a header field can have (RFC 9110
// §5.6.2).
func ValidField(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool {
		letter := 'a' <= r|0x20 && r|0x20 <= 'z'
		return !letter && (r < '0' || r > '9') && !strings.ContainsRune("!#$%&'*+-.^_`|~", r)
	})
}

// stamp adds to a response what a page of the request's origin needs to read it.
// Responses differ by Origin, so all of them say so to caches.
func (c *cors) addFields(h *fasthttp.ResponseHeader, origin []byte) {
	switch vary := h.Peek(fasthttp.HeaderVary); {
	case len(vary) == 0:
		h.Set(fasthttp.HeaderVary, fasthttp.HeaderOrigin)
	case !hasToken(vary, fasthttp.HeaderOrigin):
		h.Set(fasthttp.HeaderVary, string(vary)+", "+fasthttp.HeaderOrigin)
	}
	if c.origins.Match(origin) {
		h.SetBytesV(fasthttp.HeaderAccessControlAllowOrigin, origin)
		h.Set(fasthttp.HeaderAccessControlExposeHeaders, c.expose)
	}
}

// stampUnread does the same for the response to a head that could not be read to
// its end, whose origin nobody knows: any page may read it, since it says nothing
// but that the request was refused.
func (c *cors) addFieldsForAnyOrigin(ctx *fasthttp.RequestCtx) {
	if c == nil || len(ctx.Request.Header.Peek(fasthttp.HeaderOrigin)) > 0 {
		return
	}
	h := &ctx.Response.Header
	h.Set(fasthttp.HeaderAccessControlAllowOrigin, "*")
	h.Set(fasthttp.HeaderAccessControlExposeHeaders, c.expose)
}

// isPreflight reports whether a request asks, for a page of an origin that may,
// whether another request is allowed (Fetch §3.2.2).
func (c *cors) isPreflight(h *fasthttp.RequestHeader) bool {
	return c != nil && string(h.Method()) == http.MethodOptions &&
		len(h.Peek(fasthttp.HeaderAccessControlRequestMethod)) > 0 && c.origins.Match(h.Peek(fasthttp.HeaderOrigin))
}

// preflight makes the route that responds to a preflight. It allows every method
// and path, also those without a route: whether the request itself succeeds is
// for its own response to say, and a page can read that only if it may send it.
// It keeps the fields of options, the route of OPTIONS, if there is one.
func (s *Server) preflight(target []byte, options *Route) *Route {
	r := &Route{MaxBody: s.opts.MaxBody}
	if options != nil {
		r.Header = options.Header
	}
	path, _ := s.routes.withoutBase(targetPath(target))
	name := string(path)
	r.Handler = func(ctx *fasthttp.RequestCtx) error {
		asked := string(ctx.Request.Header.Peek(fasthttp.HeaderAccessControlRequestMethod))
		if !ValidField(asked) { // methods are tokens, too
			return badRequest("Access-Control-Request-Method is not the name of a method")
		}
		h := &ctx.Response.Header
		h.Set(fasthttp.HeaderAccessControlAllowMethods, s.routes.allowed(name, asked))
		h.Set(fasthttp.HeaderAccessControlAllowHeaders, s.cors.allow)
		h.Set(fasthttp.HeaderAccessControlMaxAge, preflightMaxAge)
		if string(ctx.Request.Header.Peek(headerPrivateNetwork)) == "true" {
			h.Set(headerAllowPrivateNetwork, "true")
		}
		ctx.SetStatusCode(http.StatusNoContent)
		return nil
	}
	return r
}

// allowed lists the methods that a preflight for path allows: those that it has
// routes for, and the one that is asked for.
func (t *routes) allowed(path, asked string) string {
	found := []string{asked}
	if path != "" {
		found = append(found, t.methodsOf(path)...)
	}
	rank := func(method string) int {
		if i := slices.Index(methodOrder, method); i >= 0 {
			return i
		}
		return len(methodOrder)
	}
	slices.SortFunc(found, func(a, b string) int {
		if d := rank(a) - rank(b); d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	return strings.Join(slices.Compact(found), ", ")
}
