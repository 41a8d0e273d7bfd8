package server_test

import (
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/galeserver/gale/server"

	"github.com/valyala/fasthttp"
)

// TestMiddleware wraps a route in three middleware functions. It checks what they get and
// in which order, for a success, an error, a panic and a request that is refused before.
func TestMiddleware(t *testing.T) {
	t.Parallel()
	trace := make(chan string, 100)
	layer := func(name string) server.Middleware {
		return func(next server.Handler) server.Handler {
			return func(ctx *fasthttp.RequestCtx) error {
				trace <- name + ">"
				err := next(ctx)
				trace <- fmt.Sprintf("<%s %v", name, err)
				return err
			}
		}
	}
	gate := func(next server.Handler) server.Handler {
		return func(ctx *fasthttp.RequestCtx) error {
			switch string(ctx.QueryArgs().Peek("gate")) {
			case "shut":
				return server.Fail(http.StatusForbidden, "the gate is shut")
			case "panic":
				panic("at the gate")
			}
			return next(ctx)
		}
	}
	around := []server.Middleware{layer("a"), layer("b"), gate}
	s := open(t, server.Options{},
		server.Route{Method: "GET", Path: "/wrapped", Middleware: around, Handler: textHandler("inside")},
		server.Route{Method: "POST", Path: "/wrapped", Middleware: around, MaxBody: 4, Handler: textHandler("inside")},
		server.Route{
			Method: "GET", Path: "/refused", Middleware: around, Handler: textHandler("inside"),
			Admit: func(*fasthttp.RequestHeader) (any, error) { return nil, server.Fail(http.StatusUnauthorized, "no") },
		})
	for _, row := range []struct {
		raw, trace string
		status     int
	}{
		{get("/wrapped"), "a> b> <b <nil> <a <nil>", 200},
		{get("/wrapped?gate=shut"), "a> b> <b 403 the gate is shut <a 403 the gate is shut", 403},
		{get("/wrapped?gate=panic"), "a> b>", 500},
		{post("/wrapped", "four"), "a> b> <b <nil> <a <nil>", 200},
		{post("/wrapped", "fiver"), "", 413},
		{strings.Replace(get("/wrapped"), "GET", "PUT", 1), "", 405},
		{strings.Replace(get("/wrapped"), "GET", "OPTIONS", 1), "", 204},
		{get("/wrapped/none"), "", 404},
		{get("/refused"), "", 401},
	} {
		got := talk(t, s, row.raw)
		var seen []string
		for len(trace) > 0 {
			seen = append(seen, <-trace)
		}
		if statuses(got) != fmt.Sprint(row.status) || strings.Join(seen, " ") != row.trace {
			t.Errorf("%.30q: status %s, middleware saw %q; want %d, %q", row.raw, statuses(got), strings.Join(seen, " "), row.status, row.trace)
		}
	}
}

// New returns an error for a nil middleware and for one that returns a nil handler.
func TestNilMiddleware(t *testing.T) {
	t.Parallel()
	for what, m := range map[string]server.Middleware{
		"middleware 1 is nil":             nil,
		"a middleware returns no handler": func(server.Handler) server.Handler { return nil },
		"too early":                       func(server.Handler) server.Handler { panic("too early") },
	} {
		fine := func(next server.Handler) server.Handler { return next }
		_, err := server.New(server.Options{}, []server.Route{
			{Method: "GET", Path: "/", Middleware: []server.Middleware{fine, m}, Handler: textHandler("")},
		})
		if err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("want %q, got %v", what, err)
		}
	}
}

// TestErrorsKeepFields checks that an error response keeps the fields that middleware has
// set and loses those that describe the dropped body.
func TestErrorsKeepFields(t *testing.T) {
	t.Parallel()
	dropped := map[string]string{
		"Content-Encoding": "gzip", "Content-Language": "de", "Content-Location": "/x", "Content-Disposition": "attachment",
		"Content-Range": "bytes 0-1/2", "Content-Digest": "x", "Accept-Ranges": "bytes", "Etag": `"x"`,
		"Last-Modified": "Mon, 02 Jan 2006 15:04:05 GMT", "Cache-Control": "max-age=60", "Expires": "0", "Location": "/x", "Upgrade": "x",
	}
	kept := map[string]string{"X-Tenant": "a", "Vary": "Cookie", "Content-Security-Policy": "default-src 'none'", "Set-Cookie": "k=v"}
	set := func(next server.Handler) server.Handler {
		return func(ctx *fasthttp.RequestCtx) error {
			for name, value := range kept {
				ctx.Response.Header.Set(name, value)
			}
			return next(ctx)
		}
	}
	handler := func(outcome func(*fasthttp.RequestCtx) error) server.Handler {
		return func(ctx *fasthttp.RequestCtx) error {
			for name, value := range dropped {
				ctx.Response.Header.Set(name, value)
			}
			ctx.SetBodyStream(strings.NewReader("a body that is dropped"), -1)
			ctx.SetContentType("text/html")
			ctx.Response.Header.SetStatusMessage([]byte("Fine"))
			return outcome(ctx)
		}
	}
	s := open(t, server.Options{},
		server.Route{Method: "GET", Path: "/fails", Middleware: []server.Middleware{set}, Handler: handler(func(*fasthttp.RequestCtx) error {
			return server.Fail(http.StatusConflict, "no")
		})},
		server.Route{Method: "GET", Path: "/panics", Middleware: []server.Middleware{set}, Handler: handler(func(*fasthttp.RequestCtx) error { panic("no") })})
	for path, want := range map[string]response{
		"/fails":  {status: 409, body: `{"code":409,"reason":"no"}`},
		"/panics": {status: 500, body: `{"code":500,"reason":"internal error"}`},
	} {
		all := talk(t, s, get(path)+get("/"))
		if len(all) != 2 || all[1].body != "hello" {
			t.Fatalf("%s: %+v", path, all)
		}
		got := all[0]
		if got.status != want.status || got.body != want.body || got.header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %+v", path, got)
		}
		for name, value := range kept {
			if got.header.Get(name) != value {
				t.Errorf("%s: %s is %q, want %q", path, name, got.header.Get(name), value)
			}
		}
		for name := range dropped {
			if got.header.Values(name) != nil {
				t.Errorf("%s: %s is still %q", path, name, got.header.Values(name))
			}
		}
	}
}

// A chain without middleware is the handler itself, so it costs nothing.
func TestEmptyChain(t *testing.T) {
	t.Parallel()
	calls := 0
	h := server.Handler(func(*fasthttp.RequestCtx) error { calls++; return nil })
	chained := server.Chain(h)
	if reflect.ValueOf(chained).Pointer() != reflect.ValueOf(h).Pointer() {
		t.Error("Chain returns another function")
	}
	if err := chained(nil); err != nil || calls != 1 {
		t.Errorf("%v, %d calls", err, calls)
	}
}

// Wrap puts middleware outside of that of each route, and leaves its argument unchanged.
func TestWrap(t *testing.T) {
	t.Parallel()
	note := func(name string) server.Middleware {
		return func(next server.Handler) server.Handler {
			return func(ctx *fasthttp.RequestCtx) error {
				ctx.Response.Header.Add("X-Layer", name)
				return next(ctx)
			}
		}
	}
	routes := []server.Route{
		{Method: "GET", Path: "/inner", Middleware: []server.Middleware{note("own")}, Handler: textHandler("")},
		{Method: "GET", Path: "/plain", Handler: textHandler("")},
	}
	wrapped := server.Wrap(routes, note("first"), note("second"))
	if len(routes[0].Middleware) != 1 || routes[1].Middleware != nil {
		t.Errorf("Wrap has changed its argument: %d, %d", len(routes[0].Middleware), len(routes[1].Middleware))
	}
	s := open(t, server.Options{}, wrapped...)
	for path, want := range map[string]string{"/inner": "first second own", "/plain": "first second"} {
		got := talk(t, s, get(path))
		if len(got) != 1 || strings.Join(got[0].header.Values("X-Layer"), " ") != want {
			t.Errorf("%s: %+v, want %s", path, got, want)
		}
	}
	if got := server.Wrap(nil, note("first")); len(got) != 0 {
		t.Errorf("no routes: %v", got)
	}
}
