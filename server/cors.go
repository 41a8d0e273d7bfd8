package server

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/valyala/fasthttp"
)

// Header fields of a preflight for a page from the internet that uses a server in a
// private network (Private Network Access §3.2).
const (
	headerPrivateNetwork      = "Access-Control-Request-Private-Network"
	headerAllowPrivateNetwork = "Access-Control-Allow-Private-Network"
)

// preflightMaxAge is how long a browser may cache the response to a preflight, in
// seconds. Chromium limits it to two hours, Firefox to a day.
const preflightMaxAge = "7200"

// requestFields are the fields that a page of another origin may send to any route, in
// addition to Options.RequestFields.
var requestFields = []string{
	"Accept", "Accept-Language", "Authorization", "Cache-Control", "Content-Digest", "Content-Language", "Content-Type", "If-Match",
	"If-Modified-Since", "If-None-Match", "If-Range", "If-Unmodified-Since", "Last-Event-ID", "Pragma", "Range", "Repr-Digest",
	"X-Request-ID", "X-Requested-With",
}

// responseFields are the fields that scripts of a page of another origin may read, in
// addition to the safelisted ones (Fetch §2.2.2) and Options.ResponseFields.
var responseFields = []string{
	"Accept-Ranges", "Allow", "Content-Digest", "Content-Disposition", "Content-Encoding", "Content-Range", "Date", "Digest", "ETag",
	"Link", "Location", "RateLimit", "RateLimit-Policy", "Repr-Digest", "Retry-After", "Server", "WWW-Authenticate", "X-Request-ID",
}

// methodOrder is the order in which methods are listed. All other methods follow in
// alphabetical order.
var methodOrder = []string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions,
}

// cors lets pages of other origins use the server (Fetch §3.2). It adds its fields to
// every response, errors included: without them a page cannot distinguish an error response
// from a lost connection. It never sends Access-Control-Allow-Credentials: a caller from
// another origin is identified by the token in a field, not by a cookie.
type cors struct {
	origins       Origins
	allow, expose string // fields that pages may send, and fields that they may read
}

// newCORS returns nil if no other origins are allowed.
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

// ValidField reports whether name is a valid name of a header field (RFC 9110 §5.6.2).
func ValidField(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool {
		letter := 'a' <= r|0x20 && r|0x20 <= 'z'
		return !letter && (r < '0' || r > '9') && !strings.ContainsRune("!#$%&'*+-.^_`|~", r)
	})
}

// addFields adds the fields that let a page of the request's origin read the response.
// Every response has Vary: Origin, for caches.
func (c *cors) addFields(h *fasthttp.ResponseHeader, origin []byte) {
	addVary(h, fasthttp.HeaderOrigin)
	if c.origins.Match(origin) {
		h.SetBytesV(fasthttp.HeaderAccessControlAllowOrigin, origin)
		h.Set(fasthttp.HeaderAccessControlExposeHeaders, c.expose)
	}
}

// addFieldsForAnyOrigin is addFields for a request whose head could not be read
// completely, so that its origin is not known. Any page may read the response, which
// only says that the request was refused.
func (c *cors) addFieldsForAnyOrigin(ctx *fasthttp.RequestCtx) {
	if c == nil || len(ctx.Request.Header.Peek(fasthttp.HeaderOrigin)) > 0 {
		return
	}
	h := &ctx.Response.Header
	h.Set(fasthttp.HeaderAccessControlAllowOrigin, "*")
	h.Set(fasthttp.HeaderAccessControlExposeHeaders, c.expose)
}

// isPreflight reports whether a request is a preflight (Fetch §3.2.2) of an allowed
// origin.
func (c *cors) isPreflight(h *fasthttp.RequestHeader) bool {
	return c != nil && string(h.Method()) == http.MethodOptions &&
		len(h.Peek(fasthttp.HeaderAccessControlRequestMethod)) > 0 && c.origins.Match(h.Peek(fasthttp.HeaderOrigin))
}

// preflight returns the route that responds to a preflight. It allows every method and
// path, even without a matching route. The page then sends its request and can read the
// 404 or 405 response; if the preflight failed, the page would see only a network error.
// The response has the Header fields of options, the route for OPTIONS, unless it is
// nil.
func (s *Server) preflight(target []byte, options *Route) *Route {
	r := &Route{MaxBody: s.opts.MaxBody}
	if options != nil {
		r.Header = options.Header
	}
	path, _ := s.routes.withoutBase(targetPath(target))
	name := string(path)
	r.Handler = func(ctx *fasthttp.RequestCtx) error {
		requested := string(ctx.Request.Header.Peek(fasthttp.HeaderAccessControlRequestMethod))
		if !ValidField(requested) { // a method is a token like a field name
			return badRequest("Access-Control-Request-Method is not the name of a method")
		}
		h := &ctx.Response.Header
		h.Set(fasthttp.HeaderAccessControlAllowMethods, s.routes.allowed(name, requested))
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

// allowed lists the methods for a preflight: those that path has routes for, and the
// requested one.
func (t *routes) allowed(path, requested string) string {
	found := []string{requested}
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
