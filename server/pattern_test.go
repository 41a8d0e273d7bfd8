package server_test

import (
	"strings"
	"testing"

	"github.com/galeserver/gale/server"
)

func TestClash(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		a, b string
		want bool
	}{
		{"GET /tasks", "GET /tasks", true},
		{"GET /tasks", "HEAD /tasks", true},
		{"GET /tasks", "POST /tasks", false},
		{"GET /tasks", "GET /tasks/", false},
		{"GET /tasks/{id}", "GET /tasks/{name}", true},
		{"GET /tasks/{id}", "GET /tasks/mine", true},
		{"GET /tasks/{id}", "GET /tasks/", false},
		{"GET /tasks/{id}", "GET /tasks/{id}/log", false},
		{"GET /tasks/{id:[0-9]+}", "GET /tasks/mine", false},
		{"GET /tasks/{id:[0-9]+}", "GET /tasks/17", true},
		{"GET /tasks/{id:[0-9]+}", "GET /tasks/17a", false},
		{"GET /tasks/{id:[0-9]+}", "GET /tasks/{id:[a-z]+}", true}, // assumed to overlap
		{"GET /{a}/log", "GET /tasks/{b}", true},
		{"GET /{a}/log", "GET /tasks/{b}/x", false},
		{"GET /static/{path:*}", "GET /static/app.js", true},
		{"GET /static/{path:*}", "GET /static/", true},
		{"GET /static/{path:*}", "GET /static", false},
		{"GET /static/{path:*}", "GET /static/{all:*}", true},
		{"GET /static/{path:*}", "GET /{all:*}", true},
		{"yields GET /{all:*}", "GET /static/{path:*}", false},
		{"yields GET /{all:*}", "GET /tasks/{id}", false},
		{"yields GET /{all:*}", "GET /", false},
		{"yields GET /{all:*}", "GET /{path:*}", true},
		{"yields GET /{x}/{all:*}", "GET /static/{path:*}", false},
		{"yields GET /static/{x}/{all:*}", "GET /static/{path:*}", true}, // it is the more exact one
		{"yields GET /static/x/{all:*}", "GET /static/{path:*}", true},
		{"yields GET /tasks/{id:[0-9]+}/{all:*}", "GET /tasks/{id}/log", true},
		{"yields GET /tasks/{id:[0-9]+}/{all:*}", "GET /tasks/17/log", false},
		{"yields GET /tasks/{id}", "GET /tasks/mine", true}, // only a rest can yield
		{"GET no path", "GET /", false},
	} {
		a, b := parseRoute(row.a), parseRoute(row.b)
		if got := server.Clash(a, b); got != row.want {
			t.Errorf("%s and %s: %v", row.a, row.b, got)
		}
		if got := server.Clash(b, a); got != row.want {
			t.Errorf("%s and %s: %v", row.b, row.a, got)
		}
	}
}

func parseRoute(text string) (r server.Route) {
	text, r.Yields = strings.CutPrefix(text, "yields ")
	r.Method, r.Path, _ = strings.Cut(text, " ")
	r.Handler = textHandler(r.Path)
	return r
}

// TestPathsThatNoRouteHas checks that New refuses such paths and names the reason.
func TestPathsThatNoRouteHas(t *testing.T) {
	t.Parallel()
	for path, reason := range map[string]string{
		"":                               "no request can have this path",
		"x":                              "no request can have this path",
		"//":                             "no request can have this path",
		"/a/../b":                        "no request can have this path",
		"/%zz":                           "no request can have this path",
		"/a\nb":                          "no request can have this path",
		"/{id":                           "braces do not match",
		"/id}":                           "braces do not match",
		"/}{":                            "braces do not match",
		"/{a/b}":                         "slash inside of braces",
		"/{}":                            "the name of a parameter is",
		"/{:*}":                          "the name of a parameter is",
		"/{a?}":                          "the name of a parameter is",
		"/{a b}":                         "the name of a parameter is",
		"/{{a}}":                         "the name of a parameter is",
		"/{a:}":                          "no pattern after the colon",
		"/{a:[}":                         "missing closing ]",
		"/{a:(}":                         "missing closing )",
		"/{a:*}/b":                       "must be the last segment",
		"/x{a}":                          "a parameter must be a whole segment",
		"/{a}x":                          "a parameter must be a whole segment",
		"/{a}-{b}":                       "the name of a parameter is",
		"/{a}{b}":                        "a parameter must be a whole segment",
		"/{a}/{a}":                       `two parameters are called "a"`,
		"/{a:" + "(x{1000}){1000}" + "}": "invalid repeat count",
	} {
		_, err := server.New(server.Options{}, []server.Route{{Method: "GET", Path: path, Handler: textHandler("")}})
		if err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("%q: want %q, got %v", path, reason, err)
		}
	}
}

// TestSameShapeTwice checks that the error of New names both routes.
func TestSameShapeTwice(t *testing.T) {
	t.Parallel()
	for _, paths := range [][2]string{{"/a", "/a"}, {"/{a}", "/{b}"}, {"/{a}/x", "/{b}/x"}, {"/{a:*}", "/{b:*}"}, {"/{a:x+}/y", "/{b:x+}/y"}} {
		_, err := server.New(server.Options{}, []server.Route{parseRoute("GET " + paths[0]), parseRoute("GET " + paths[1])})
		if err == nil || !strings.Contains(err.Error(), `"`+paths[0]+`"`) || !strings.Contains(err.Error(), `"`+paths[1]+`"`) {
			t.Errorf("%q: %v", paths, err)
		}
	}
}

// TestPatternMatchesWhole checks that a regular expression must match the complete
// segment.
func TestPatternMatchesWhole(t *testing.T) {
	t.Parallel()
	s := open(t, server.Options{}, parseRoute("GET /n/{id:[0-9]{2,4}}"), parseRoute("GET /w/{w:a|ab}/x"), parseRoute("GET /w/{other}/y"))
	for path, status := range map[string]string{
		"/n/12": "200", "/n/1234": "200", "/n/1": "404", "/n/12345": "404", "/n/12x": "404", "/n/x12": "404",
		"/w/ab/x": "200", "/w/a/x": "200", "/w/abc/x": "404", "/w/ab/y": "200", "/w/zz/y": "200",
	} {
		if got := talk(t, s, get(path)); statuses(got) != status {
			t.Errorf("%s: %s, want %s", path, statuses(got), status)
		}
	}
}

// FuzzPath checks that New refuses a path or serves it, and that a served path clashes
// with itself.
func FuzzPath(f *testing.F) {
	for _, seed := range []string{"/", "/a/{b}", "/a/{b:[0-9]{4}}/", "/{r:*}", "/{a}{b}", "/{", "/{a:(}", "/\xff", "/a/{b:?}", "/{a:^}/x", "/{a:x|y}$/"} {
		f.Add(seed, "/a/{c}/d")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		one, other := parseRoute("GET "+a), parseRoute("GET "+b)
		_, err := server.New(server.Options{}, []server.Route{one})
		if sound := server.Clash(one, one); sound != (err == nil) {
			t.Errorf("%q clashes with itself: %v, New says %v", a, sound, err)
		}
		if server.Clash(one, other) != server.Clash(other, one) {
			t.Errorf("Clash depends on the order of %q and %q", a, b)
		}
		_, _ = server.New(server.Options{}, []server.Route{one, other}) // must not panic
	})
}
