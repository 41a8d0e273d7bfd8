package middleware_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/internal/sharedtest"
	"github.com/galeserver/gale/server"
	"github.com/galeserver/gale/server/cache"
	"github.com/galeserver/gale/server/cookie"
	"github.com/galeserver/gale/server/middleware"
	"github.com/galeserver/gale/server/session"
)

// counter is a handler that counts its calls by target and shows the count.
type counter struct {
	mu    sync.Mutex
	calls map[string]int
	after func(ctx *fasthttp.RequestCtx) error // runs at the end of the handler
}

func (c *counter) handle(ctx *fasthttp.RequestCtx) error {
	c.mu.Lock()
	if c.calls == nil {
		c.calls = map[string]int{}
	}
	c.calls[string(ctx.RequestURI())]++
	n := c.calls[string(ctx.RequestURI())]
	c.mu.Unlock()
	server.WriteText(ctx, fasthttp.StatusOK, "call "+strconv.Itoa(n))
	if c.after == nil {
		return nil
	}
	return c.after(ctx)
}

func newCache(t *testing.T, address string) *cache.Cache {
	t.Helper()
	return cache.New(sharedtest.Open(t, address), cache.Options{})
}

// A stored response is the same as the first one, except for Age and the fields that
// belong to the request.
func TestCache(t *testing.T) {
	t.Parallel()
	sharedtest.Each(t, func(t *testing.T, address string) {
		made := &counter{after: func(ctx *fasthttp.RequestCtx) error {
			ctx.Response.Header.Set("ETag", `"1"`)
			ctx.Response.Header.Set("X-Odd", "\xff")
			ctx.Response.Header.Add("Link", "</a>")
			ctx.Response.Header.Add("Link", "</b>")
			ctx.Response.Header.SetContentType("image/x")
			return nil
		}}
		var number atomic.Int64
		numbered := func(next server.Handler) server.Handler {
			return func(ctx *fasthttp.RequestCtx) error {
				ctx.Response.Header.Set("X-Number", strconv.FormatInt(number.Add(1), 10))
				return next(ctx)
			}
		}
		// Two processes.
		one := serve(t, route("/made", made.handle, numbered, middleware.Cache(newCache(t, address), time.Hour, middleware.CacheOptions{})))
		two := serve(t, route("/made", made.handle, numbered, middleware.Cache(newCache(t, address), time.Hour, middleware.CacheOptions{})))
		for i, s := range []*site{one, two, one} {
			got := s.get("/made", "Host", "x")
			if stored := i > 0; (got.header.Get("Age") != "") != stored {
				t.Errorf("request %d: Age %q", i, got.header.Get("Age"))
			}
			want := fmt.Sprintf("200 call 1 \"1\" %q [</a> </b>] image/x %d", "\xff", i+1)
			seen := fmt.Sprintf("%d %s %s %q %v %s %s", got.status, got.body, got.header.Get("ETag"), got.header.Get("X-Odd"), got.header.Values("Link"), got.header.Get("Content-Type"), got.header.Get("X-Number"))
			if seen != want || len(got.header.Values("Content-Length")) != 1 || len(got.header.Values("X-Request-Id")) != 1 {
				t.Errorf("request %d: %s, want %s; %v", i, seen, want, got.header)
			}
		}
		if got := one.get("/made?x=1", "Host", "x"); got.body != "call 1" {
			t.Errorf("another query: %+v", got)
		}
		if got := one.get("/made", "Host", "y"); got.body != "call 2" {
			t.Errorf("another host: %+v", got)
		}
	})
	wantFault(t, middleware.Cache(nil, time.Hour, middleware.CacheOptions{}), "middleware.Cache: the cache is nil")
	wantFault(t, middleware.Cache(newCache(t, sharedtest.StateServer(t)), time.Hour, middleware.CacheOptions{Vary: []string{"*"}}), `Vary has "*"`)
}

// HEAD has its own responses, with the length of the body.
func TestCacheHead(t *testing.T) {
	t.Parallel()
	var c counter
	s := serve(t, route("/", c.handle, middleware.Cache(newCache(t, sharedtest.StateServer(t)), time.Hour, middleware.CacheOptions{})),
		route("/net", server.HTTP(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c.handle(new(fasthttp.RequestCtx))
			w.Header().Set("Content-Length", "6")
			if r.Method == http.MethodGet {
				_, _ = w.Write([]byte("length"))
			}
		})), middleware.Cache(newCache(t, sharedtest.StateServer(t)), time.Hour, middleware.CacheOptions{})))
	for range 2 {
		for _, path := range []string{"/", "/net"} {
			if got := s.send(t.Context(), "HEAD", path); got.status != 200 || got.header.Get("Content-Length") != "6" {
				t.Errorf("HEAD %s: %+v", path, got)
			}
			if got := s.get(path); len(got.body) != 6 {
				t.Errorf("GET %s: %+v", path, got)
			}
		}
	}
}

// Each of these requests reaches the handler.
func TestRequestsNotCached(t *testing.T) {
	t.Parallel()
	var c counter
	m := middleware.Cache(newCache(t, sharedtest.StateServer(t)), time.Hour, middleware.CacheOptions{})
	admitted := route("/admitted", c.handle, m)
	admitted.Admit = func(*fasthttp.RequestHeader) (any, error) { return "who", nil }
	post := route("/post", c.handle, m)
	post.Method = "POST"
	s := serve(t, route("/get", c.handle, m), route("/off", c.handle, middleware.Cache(newCache(t, sharedtest.StateServer(t)), 0, middleware.CacheOptions{})), admitted, post)
	s.get("/get")
	for i, fields := range [][]string{
		{"Authorization", "x"}, {"Cookie", "a=b"}, {"Range", "bytes=0-1"}, {"If-None-Match", `"x"`}, {"If-Modified-Since", "x"},
		{"If-Match", "*"}, {"If-Unmodified-Since", "x"}, {"If-Range", "x"}, {"Upgrade", "x"},
	} {
		if got := s.get("/get", fields...); got.body != fmt.Sprint("call ", i+2) || got.header.Get("Age") != "" {
			t.Errorf("%v: %+v", fields, got)
		}
	}
	if got := s.get("/get", "Cache-Control", "no-cache", "Pragma", "no-cache"); got.body != "call 1" {
		t.Errorf("a client asked for a new response: %+v", got)
	}
	for path, method := range map[string]string{"/admitted": "GET", "/post": "POST", "/off": "GET"} {
		for n := 1; n <= 2; n++ {
			if got := s.send(t.Context(), method, path); got.body != fmt.Sprint("call ", n) {
				t.Errorf("%s: %+v", path, got)
			}
		}
	}
}

// Responses are stored or not by what they say, also those that another middleware made.
func TestResponsesNotStored(t *testing.T) {
	t.Parallel()
	sessions := session.New(sharedtest.Open(t, sharedtest.StateServer(t)), func() *cookie.Keys {
		keys, err := cookie.NewKeys(bytes.Repeat([]byte("k"), 32))
		if err != nil {
			t.Fatal(err)
		}
		return keys
	}(), session.Options{})
	set := func(name, value string) func(*fasthttp.RequestCtx) error {
		return func(ctx *fasthttp.RequestCtx) error {
			ctx.Response.Header.Add(name, value)
			return nil
		}
	}
	rows := map[string]struct {
		after  func(*fasthttp.RequestCtx) error
		stored bool
	}{
		"/plain":        {nil, true},
		"/status":       {func(ctx *fasthttp.RequestCtx) error { ctx.SetStatusCode(404); return nil }, false},
		"/other-status": {func(ctx *fasthttp.RequestCtx) error { ctx.SetStatusCode(410); return nil }, true},
		"/cookie":       {set("Set-Cookie", "a=b"), false},
		"/no-store":     {set("Cache-Control", "No-Store"), false},
		"/private":      {set("Cache-Control", `max-age=60, private="x, y"`), false},
		"/no-cache":     {set("Cache-Control", "no-cache"), false},
		"/stale":        {set("Cache-Control", "max-age=0"), false},
		"/shared-stale": {set("Cache-Control", "max-age=60, s-maxage=0"), false},
		"/shared-fresh": {set("Cache-Control", "max-age=0, s-maxage=60"), true},
		"/fresh":        {set("Cache-Control", "public, max-age=3600"), true},
		"/bad-age":      {set("Cache-Control", "max-age=soon"), false},
		"/expired":      {set("Expires", "Mon, 02 Jan 2006 15:04:05 GMT"), false},
		"/bad-expires":  {set("Expires", "0"), false},
		"/not-expired":  {set("Expires", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)), true},
		"/vary":         {set("Vary", "accept"), true},
		"/vary-other":   {set("Vary", "Accept, Origin"), false},
		"/vary-all":     {set("Vary", "*"), false},
		"/fits": {func(ctx *fasthttp.RequestCtx) error {
			ctx.Response.AppendBodyString(strings.Repeat("x", 94))
			return nil
		}, true},
		"/too-large": {func(ctx *fasthttp.RequestCtx) error {
			ctx.Response.AppendBodyString(strings.Repeat("x", 95))
			return nil
		}, false},
		"/failure":  {func(*fasthttp.RequestCtx) error { return server.Fail(410, "call") }, false},
		"/internal": {func(*fasthttp.RequestCtx) error { return errors.New("broken") }, false},
		"/panic":    {func(*fasthttp.RequestCtx) error { panic("broken") }, false},
		"/session":  {func(ctx *fasthttp.RequestCtx) error { _, err := sessions.Of(ctx); return err }, false},
		"/stream": {func(ctx *fasthttp.RequestCtx) error {
			text := string(ctx.Response.Body())
			ctx.SetBodyStream(strings.NewReader(text), -1)
			return nil
		}, false},
		"/taken": {func(ctx *fasthttp.RequestCtx) error {
			text := string(ctx.Response.Body())
			head, _ := server.Head(ctx)
			return server.Take(ctx, func(taken *server.Taken) {
				go func() { // ends when the client has the response
					_, _ = taken.Write(append(head, fmt.Appendf(nil, "6\r\n%s\r\n0\r\n\r\n", text)...))
					_ = taken.Finish(0)
				}()
			})
		}, false},
	}
	m := middleware.Cache(newCache(t, sharedtest.StateServer(t)), time.Hour, middleware.CacheOptions{
		Vary: []string{"Accept"}, Statuses: []int{200, 410}, MaxSize: 100,
	})
	handlers := map[string]*counter{}
	var routes []server.Route
	for path, row := range rows {
		handlers[path] = &counter{after: row.after}
		routes = append(routes, route(path, handlers[path].handle, m))
	}
	s := serve(t, routes...)
	for path, row := range rows {
		first, second, third := s.get(path), s.get(path), s.get(path)
		want := 3
		if row.stored {
			want = 1
		}
		if got := handlers[path].calls[path]; got != want {
			t.Errorf("%s: %d calls, want %d", path, got, want)
		}
		if first.status != second.status || second.status != third.status || (third.header.Get("Age") != "") != row.stored {
			t.Errorf("%s: %+v, %+v, %+v", path, first, second, third)
		}
		if row.stored && (second.body != first.body || third.body != first.body) {
			t.Errorf("%s: %q, %q, %q", path, first.body, second.body, third.body)
		}
	}
	if log := s.log.String(); strings.Count(log, "stack=") != 3 {
		t.Errorf("want three panics in the log:\n%s", log)
	}
}

// Vary and Key separate responses; with Key, requests with credentials are cached, too.
func TestCacheKeys(t *testing.T) {
	t.Parallel()
	var c counter
	s := serve(t, route("/", c.handle, middleware.Cache(newCache(t, sharedtest.StateServer(t)), time.Hour, middleware.CacheOptions{
		Vary: []string{"Accept-Language"},
		Key: func(ctx *fasthttp.RequestCtx) (string, bool) {
			user := string(ctx.Request.Header.Peek("Authorization"))
			return user, user != "root"
		},
	})))
	for i, row := range []struct {
		language, user, want string
	}{
		{"de", "ada", "call 1"}, {"de", "ada", "call 1"}, {"en", "ada", "call 2"}, {"de", "eve", "call 3"}, {"de", "eve", "call 3"},
		{"de", "root", "call 4"}, {"de", "root", "call 5"}, {"en", "ada", "call 2"}, {"", "deada", "call 6"},
	} {
		if got := s.get("/", "Accept-Language", row.language, "Authorization", row.user); got.body != row.want {
			t.Errorf("request %d: %+v, want %s", i, got, row.want)
		}
	}
}
