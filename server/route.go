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

// Handler responds to a request, or returns an error that becomes a response by the
// table from error to status (see ErrorStatus). The body that was written until then
// is dropped with the fields that describe it, such as Content-Type, ETag and
// Cache-Control; other fields and cookies stay.
// Neither ctx nor anything from it may be used after the return: fasthttp hands
// both to the next request. Parameters (Param) are copies and may be kept.
type Handler func(ctx *fasthttp.RequestCtx) error

// Middleware returns a handler around next: it may do something before next, after
// it, or instead of it. It sees the requests that next would handle. It does not see
// those that get 404, 405 or 413, that Route.Admit refuses or whose head is at fault.
//
// Code after next runs when next has returned, which is before anything of the
// response is sent: before the first byte of a body stream, and before the new owner
// of a connection (see Take) has done anything. An error that next returned has not
// become a response yet. A panic is handled like that of a handler.
type Middleware func(next Handler) Handler

// Chain returns h inside of middleware; the first is the outermost.
func Chain(h Handler, middleware ...Middleware) Handler {
	for _, m := range slices.Backward(middleware) {
		h = m(h)
	}
	return h
}

// Route is a handler under a method and a path. HEAD is answered by the route
// of GET, and OPTIONS with Allow, unless they have routes of their own.
type Route struct {
	Method string
	// Path may hold parameters: {name} is one segment, {name:regexp} one that
	// matches as a whole, {name:*} at the end is the rest. Fixed text wins over
	// parameters. A path that ends in a slash is another path than the one that
	// does not. A name is letters, digits, _ and -.
	Path string
	// Yields says that a path which ends in {name:*} is for what no other route
	// takes: see Clash. It makes no difference to how requests are routed.
	Yields bool
	// MaxBody is the limit of the body, in bytes; 0 is Options.MaxBody, and
	// negative means none: for handlers that stream and count for themselves.
	MaxBody int64
	// Admit, if it is given, may refuse a request for what its head says, before
	// a byte of the body is asked for: a client that sent Expect: 100-continue gets
	// the error instead of 100. It is called once per request, and the connection
	// waits for it. Handlers get who from Admitted. A panic is a 500.
	Admit func(h *fasthttp.RequestHeader) (who any, err error)
	// Public and Writes are read by package app, for the routes of an application; a
	// Server does not look at them. Public says that everybody may use the route,
	// whatever its method. Writes says that a GET changes something, so it needs what
	// a POST needs.
	Public, Writes bool
	// Header are fields, name and value, that every response carries, also one to
	// an error.
	Header [][2]string
	// Middleware is around Handler, the first outermost. New calls each once.
	Middleware []Middleware
	Handler    Handler
}

// routes is the table of routes. The router in it only matches: what it holds
// for a path is not the handler but a function that notes the route in ctx, so
// that a route can be known before its handler is to run.
type routes struct {
	router  *router.Router
	methods []string          // that have routes, sorted
	shapes  map[string]string // from method and shape to the path of a route
	base    string            // Options.BasePath
}

// routeKey is under which the matching route is noted in ctx.
type routeKey struct{}

func newRoutes(list []Route, maxBody int64) (*routes, error) {
	t := &routes{router: router.New(), shapes: make(map[string]string)}
	var faults []error
	for i := range list {
		r := list[i]
		if r.MaxBody == 0 {
			r.MaxBody = maxBody
		}
		if err := t.add(&r); err != nil {
			faults = append(faults, fmt.Errorf("route %q %q: %w", r.Method, r.Path, err))
		}
	}
	slices.Sort(t.methods)
	return t, errors.Join(faults...)
}

func (t *routes) add(r *Route) (err error) {
	switch {
	case r.Method == "" || strings.ToUpper(r.Method) != r.Method || strings.ContainsAny(r.Method, " *\t\r\n"):
		return errors.New("a method is a word in capitals")
	case r.Handler == nil:
		return errors.New("no handler")
	}
	path, err := parsePath(r.Path)
	if err != nil {
		return err
	}
	key := r.Method + " " + shapeOf(path)
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
	if !slices.Contains(t.methods, r.Method) {
		t.methods = append(t.methods, r.Method)
	}
	return nil
}

// find returns the route for a request and leaves its parameters in ctx. Its
// errors are answered 404, or 405 with Allow.
func (t *routes) find(method, target []byte, ctx *fasthttp.RequestCtx) (*Route, error) {
	name := methodName(method)
	if name == http.MethodOptions && string(target) == "*" {
		return optionsRoute(t.allow("")), nil
	}
	raw, _ := t.withoutBase(targetPath(target))
	if !cleanPath(raw) {
		return nil, &Error{Status: http.StatusNotFound, Reason: "not found"}
	}
	// The lookup compares the path and copies parameters out of it, so it may
	// see the request's own memory; a copy would be the only allocation here.
	path := unsafe.String(unsafe.SliceData(raw), len(raw))
	note, _ := t.router.Lookup(name, path, ctx)
	if note == nil && name == http.MethodHead {
		note, _ = t.router.Lookup(http.MethodGet, path, ctx)
	}
	if note != nil {
		note(ctx)
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

// optionsRoute answers OPTIONS where no route of the application does.
func optionsRoute(allow string) *Route {
	return &Route{MaxBody: -1, Handler: func(ctx *fasthttp.RequestCtx) error {
		ctx.Response.Header.Set(fasthttp.HeaderAllow, allow)
		ctx.SetStatusCode(http.StatusNoContent)
		return nil
	}}
}

// allow lists the methods that path has routes for, as Allow wants them (RFC
// 9110 §10.2.1); an empty path stands for all paths.
func (t *routes) allow(path string) string {
	return strings.Join(t.methodsOf(path), ", ")
}

// methodsOf returns, sorted, the methods that path has routes for and those that
// come with them; an empty path stands for all paths.
func (t *routes) methodsOf(path string) (found []string) {
	for _, m := range t.methods {
		if path != "" {
			if note, _ := t.router.Lookup(m, path, nil); note == nil {
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

// methodName is method as a string, without an allocation for those that
// everybody uses.
func methodName(method []byte) string {
	if name := meterName(method); name != otherMethod {
		return name
	}
	return string(method)
}

// otherMethod is what a Meter hears of methods it may not know, so that a
// client cannot make up label values.
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

// Param returns the part of the path that the route calls name, decoded, or ""
// if it has no such part. It holds no control character and no segment `.` or
// `..`, but it may hold a slash that was sent as %2F. It is a copy.
func Param(ctx *fasthttp.RequestCtx, name string) string {
	raw, _ := ctx.UserValue(name).(string)
	value, err := url.PathUnescape(raw)
	if err != nil {
		return "" // cannot be: cleanPath saw the escapes
	}
	return value
}
