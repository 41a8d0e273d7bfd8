package server

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unsafe"

	"github.com/fasthttp/router"
	"github.com/valyala/fasthttp"
)

// Handler responds to a request, or returns an error that the table from error to
// status turns into a response (see ErrorStatus). An error drops the body that was
// written so far and the fields that describe it, such as Content-Type, ETag and
// Cache-Control; other fields and cookies stay. Neither ctx nor anything from it may
// be used after the return: fasthttp reuses both for the next request. Parameters
// (Param) are copies and may be kept.
type Handler func(ctx *fasthttp.RequestCtx) error

// Middleware returns a handler that wraps next: it may do work before and after it calls
// next, or respond without calling next. It runs only for requests that next would handle.
// It does not run for a request that gets 404, 405 or 413 before its handler, that
// Route.Admit refuses, or whose head is malformed.
//
// Code after next runs before any of the response is sent: before the first byte of a
// body stream, and before the new owner of a connection (see Take) does anything. The
// server turns an error into a response after the outermost middleware has returned it.
// A panic in middleware is handled like a panic in a handler.
type Middleware func(next Handler) Handler

// Chain wraps h in middleware. The first element is the outermost.
func Chain(h Handler, middleware ...Middleware) Handler {
	for _, m := range slices.Backward(middleware) {
		h = m(h)
	}
	return h
}

// Route is a handler for a method and a path. The route of GET also serves HEAD, and
// OPTIONS gets a response with Allow, unless they have their own routes.
type Route struct {
	Method string
	// Path may contain parameters: {name} matches one segment, {name:regexp} matches a
	// segment if the regular expression matches all of it, and {name:*} at the end
	// matches the rest of the path. Fixed text takes precedence over parameters. A path
	// with a trailing slash differs from the one without. A name consists of letters,
	// digits, _ and -.
	Path string
	// Yields declares that a path ending in {name:*} is meant only for requests that
	// match no other route: see Clash. It does not change how requests are routed.
	Yields bool
	// MaxBody is the limit of the body, in bytes. 0 means Options.MaxBody. A negative
	// value means no limit, for handlers that stream the body and enforce a limit of their own.
	MaxBody int64
	// Admit may refuse a request by its head, before any of the body is read. A client
	// that sent Expect: 100-continue gets the error response instead of 100. Admit is
	// called once per request and blocks only the connection of that request. Handlers
	// get value from Admitted; an Admission has further values. A panic is a 500 response. Default: every request is
	// admitted.
	Admit func(h *fasthttp.RequestHeader) (value any, err error)
	// Public and Writes are for package app, which reads them for the routes of an
	// application; a Server ignores them. Public means that everybody may use the route
	// with any method. Writes means that a GET changes something, so it needs the same
	// rights as a POST.
	Public, Writes bool
	// Header holds the name and value of fields of every response, including error
	// responses. They have precedence over those of the handler and of Options.Header.
	Header [][2]string
	// Compress permits compression where Options.Compress would not compress, because
	// the length of the body may show secrets or the client may need a strong ETag:
	//   - a response to a request with Cookie or Authorization, or with Set-Cookie. An
	//     attacker who makes a browser send requests and sees the lengths of the
	//     responses finds a secret in the body by putting guesses into the same body
	//     (BREACH, https://breachattack.com), so set Compress only if the body never has
	//     both;
	//   - a response with a strong ETag if the path has a route for PUT, PATCH or DELETE:
	//     compression makes the ETag weak, and If-Match never matches a weak one (RFC
	//     9110 §13.1.1).
	Compress bool
	// Untraced leaves out the span of a request without traceparent. It is for frequent
	// requests of little interest, such as health checks.
	Untraced bool
	// Middleware wraps Handler, the first one outermost. New calls each of them once.
	Middleware []Middleware
	Handler    Handler

	setsSecurity bool // Header has one of securityFields
	writable     bool // the path has a route for PUT, PATCH or DELETE
}

// setHeader sets the fields of Header.
func (r *Route) setHeader(h *fasthttp.ResponseHeader) {
	for _, field := range r.Header {
		h.Set(field[0], field[1])
	}
}

// routes is the table of routes. The handlers in its router only store the matching
// route in ctx, so that the server can check the request before it runs the route's handler.
type routes struct {
	fixed   map[string]map[string]*Route // routes without parameters, by method and path
	router  *router.Router               // all routes
	methods []string                     // methods that have routes, sorted
	shapes  map[string]string            // path of each route, by method and result of shapeOf
	base    string                       // Options.BasePath
}

// routeKey is the key of the matching route in ctx.
type routeKey struct{}

func newRoutes(list []Route, maxBody int64) (*routes, error) {
	t := &routes{fixed: make(map[string]map[string]*Route), router: router.New(), shapes: make(map[string]string)}
	var faults []error
	writable := writableShapes(list)
	for i := range list {
		r := list[i]
		r.setsSecurity = namesSecurityField(r.Header)
		if r.MaxBody == 0 {
			r.MaxBody = maxBody
		}
		if err := t.add(&r, writable); err != nil {
			faults = append(faults, fmt.Errorf("route %q %q: %w", r.Method, r.Path, err))
		}
	}
	slices.Sort(t.methods)
	return t, errors.Join(faults...)
}

// writableShapes returns the shapes of the paths that have a route for PUT, PATCH or DELETE.
func writableShapes(list []Route) map[string]bool {
	shapes := map[string]bool{}
	for _, r := range list {
		switch r.Method {
		case http.MethodPut, http.MethodPatch, http.MethodDelete:
			if path, err := parsePath(r.Path); err == nil { // add returns the error
				shapes[shapeOf(path)] = true
			}
		}
	}
	return shapes
}

// add adds a route. writable are the shapes of paths that have a route for writing.
func (t *routes) add(r *Route, writable map[string]bool) (err error) {
	switch {
	case r.Method == "" || strings.ToUpper(r.Method) != r.Method || strings.ContainsAny(r.Method, " *\t\r\n"):
		return errors.New("the method must be a word in capitals")
	case r.Handler == nil:
		return errors.New("no handler")
	}
	path, err := parsePath(r.Path)
	if err != nil {
		return err
	}
	shape := shapeOf(path)
	key := r.Method + " " + shape
	r.writable = writable[shape]
	if other, ok := t.shapes[key]; ok {
		return fmt.Errorf("the same as %q", other)
	}
	t.shapes[key] = r.Path
	// The router reports a duplicate or a conflict by panicking.
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("%v", v)
		}
	}()
	for i, m := range r.Middleware {
		if m == nil {
			return fmt.Errorf("middleware %d is nil", i)
		}
	}
	if r.Handler = Chain(r.Handler, r.Middleware...); r.Handler == nil {
		return errors.New("a middleware returns no handler")
	}
	t.router.Handle(r.Method, routerPath(path), func(ctx *fasthttp.RequestCtx) { ctx.SetUserValue(routeKey{}, r) })
	if t.fixed[r.Method] == nil {
		t.fixed[r.Method] = make(map[string]*Route)
		t.methods = append(t.methods, r.Method)
	}
	if !strings.Contains(r.Path, "{") {
		t.fixed[r.Method][r.Path] = r
	}
	return nil
}

// find returns the route for a request and stores its parameters in ctx. Its errors
// are 404, or 405 with Allow.
func (t *routes) find(method, target []byte, ctx *fasthttp.RequestCtx) (*Route, error) {
	name := methodName(method)
	if name == http.MethodOptions && string(target) == "*" {
		return optionsRoute(t.allow("")), nil
	}
	raw, _ := t.withoutBase(targetPath(target))
	if !cleanPath(raw) {
		return nil, &Error{Status: http.StatusNotFound, Reason: "not found"}
	}
	// Lookup copies the parameters out of the path, so the string may share the memory
	// of the request. A copy would be the only allocation here.
	path := unsafe.String(unsafe.SliceData(raw), len(raw))
	if r := t.fixed[name][path]; r != nil {
		return r, nil
	}
	store, _ := t.router.Lookup(name, path, ctx)
	if store == nil && name == http.MethodHead {
		store, _ = t.router.Lookup(http.MethodGet, path, ctx)
	}
	if store != nil {
		store(ctx)
		return ctx.UserValue(routeKey{}).(*Route), nil
	}
	allow := t.allow(path)
	switch {
	case allow == "":
		return nil, &Error{Status: http.StatusNotFound, Reason: "not found"}
	case name == http.MethodOptions:
		return optionsRoute(allow), nil
	}
	return nil, &Error{Status: http.StatusMethodNotAllowed, Reason: "method not allowed", allow: allow}
}

// optionsRoute returns the route for OPTIONS of a path that has no such route itself.
func optionsRoute(allow string) *Route {
	return &Route{MaxBody: -1, Handler: func(ctx *fasthttp.RequestCtx) error {
		ctx.Response.Header.Set(fasthttp.HeaderAllow, allow)
		ctx.SetStatusCode(http.StatusNoContent)
		return nil
	}}
}

// allow returns the value of Allow for a path (RFC 9110 §10.2.1). An empty path means
// all paths.
func (t *routes) allow(path string) string {
	return strings.Join(t.methodsOf(path), ", ")
}

// methodsOf returns, sorted, the methods that path has routes for, with HEAD and
// OPTIONS. An empty path means all paths.
func (t *routes) methodsOf(path string) (found []string) {
	for _, m := range t.methods {
		if path != "" {
			if store, _ := t.router.Lookup(m, path, nil); store == nil {
				continue
			}
		}
		found = append(found, m)
		if m == http.MethodGet {
			found = append(found, http.MethodHead)
		}
	}
	if len(found) > 0 {
		found = append(found, http.MethodOptions)
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// methodName returns method as a string, without an allocation for standard methods.
func methodName(method []byte) string {
	if name := meterName(method); name != otherMethod {
		return name
	}
	return string(method)
}

// otherMethod is the method that a Meter gets for all other methods. Otherwise clients
// could create any number of label values.
const otherMethod = "other"

func meterName(method []byte) string {
	switch string(method) {
	case http.MethodGet:
		return http.MethodGet
	case http.MethodHead:
		return http.MethodHead
	case http.MethodPost:
		return http.MethodPost
	case http.MethodPut:
		return http.MethodPut
	case http.MethodPatch:
		return http.MethodPatch
	case http.MethodDelete:
		return http.MethodDelete
	case http.MethodOptions:
		return http.MethodOptions
	case http.MethodConnect:
		return http.MethodConnect
	case http.MethodTrace:
		return http.MethodTrace
	}
	return otherMethod
}

// Param returns the parameter name of the route's path, decoded, or "" if there is
// none. The value has no control characters and no segments `.` or `..`, but it may
// contain a slash that was sent as %2F. It is a copy.
func Param(ctx *fasthttp.RequestCtx, name string) string {
	raw, _ := ctx.UserValue(name).(string)
	value, err := url.PathUnescape(raw)
	if err != nil {
		return "" // cannot happen: cleanPath has checked the escapes
	}
	return value
}
