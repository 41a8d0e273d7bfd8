// Package middleware tests ready-made middleware in a server with two processes.
package middleware_test

import (
	"context"
	"encoding/base64"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/app"
	"github.com/galeserver/gale/app/apptest"
	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/server"
	"github.com/galeserver/gale/server/limit"
	"github.com/galeserver/gale/server/middleware"
)

// granted is the number of requests that /limited grants in a window that no test waits for.
const granted = 5

func application() app.Application {
	pid := strconv.Itoa(os.Getpid())
	handler := func(ctx *fasthttp.RequestCtx) error {
		server.WriteText(ctx, fasthttp.StatusOK, "made by "+pid)
		return nil
	}
	return app.Application{
		// Every response says which process sent it.
		Middleware: []server.Middleware{func(next server.Handler) server.Handler {
			return func(ctx *fasthttp.RequestCtx) error {
				ctx.Response.Header.Set("X-Process", pid)
				return next(ctx)
			}
		}},
		Routes: func(s *app.Services) ([]server.Route, error) {
			limited := server.Wrap([]server.Route{{Method: "GET", Path: "/own-limited", Handler: handler}},
				middleware.RateLimit(s.Limit(limit.Options{Name: "test", Limit: granted, Window: 24 * time.Hour}), nil))
			cached := server.Wrap([]server.Route{{Method: "GET", Path: "/own-cached", Handler: handler}},
				middleware.Cache(s.Cache, time.Hour, middleware.CacheOptions{}))
			return slices.Concat(limited, cached, protected(handler)), nil
		},
	}
}

// protected are routes with credentials of their own.
func protected(handler server.Handler) []server.Route {
	basic := middleware.BasicAuth("own", func(user, password string) bool { return user == "ada" && middleware.Equal(password, "lovelace") })
	bearer := middleware.BearerAuth("own", func(_ context.Context, token string) (*string, error) {
		if middleware.Equal(token, "own-key") {
			return &token, nil
		}
		return nil, nil
	})
	return slices.Concat(
		server.Wrap([]server.Route{
			{Method: "GET", Path: "/own-basic", Handler: handler},
			{Method: "POST", Path: "/own-basic", Handler: handler},
			{Method: "POST", Path: "/own-public", Public: true, Handler: handler},
		}, basic),
		server.Wrap([]server.Route{{Method: "GET", Path: "/own-bearer", Handler: handler}}, bearer))
}

func TestMain(m *testing.M) { apptest.Main(m, application()) }

// untilBoth sends requests until two processes have sent a response.
func untilBoth(t *testing.T, s *apptest.Server, path string, check func(n int, resp *http.Response, body string)) {
	t.Helper()
	n, seen := 0, map[string]bool{}
	testutil.Eventually(t, "both processes have sent responses", func() bool {
		resp, err := s.Client.Get(s.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		n++
		seen[resp.Header.Get("X-Process")] = true
		check(n, resp, string(body))
		return len(seen) == 2 && n > 2*granted
	})
}

// The limit is that of both processes together.
func TestRateLimitOfProcesses(t *testing.T) {
	s := apptest.StartProcesses(t, "-procs", "2")
	untilBoth(t, s, "/own-limited", func(n int, resp *http.Response, body string) {
		want := http.StatusOK
		if n > granted {
			want = http.StatusTooManyRequests
		}
		if resp.StatusCode != want || (resp.Header.Get("Retry-After") != "") != (n > granted) {
			t.Errorf("request %d: %d %s, %v", n, resp.StatusCode, body, resp.Header)
		}
	})
}

// Both processes send the response that one of them has made.
func TestCacheOfProcesses(t *testing.T) {
	s := apptest.StartProcesses(t, "-procs", "2")
	first := ""
	untilBoth(t, s, "/own-cached", func(n int, resp *http.Response, body string) {
		if n == 1 {
			first = body
		}
		if resp.StatusCode != http.StatusOK || body != first || (resp.Header.Get("Age") != "") != (n > 1) {
			t.Errorf("request %d: %d %s, first %s, %v", n, resp.StatusCode, body, first, resp.Header)
		}
	})
}

// The guard of -token runs before the credentials of a route are checked, and the
// administrator's token opens no route that has its own.
func TestCredentialsBesideToken(t *testing.T) {
	s := apptest.StartProcesses(t, "-token", "administrator")
	password := "Basic " + base64.StdEncoding.EncodeToString([]byte("ada:lovelace"))
	const guard, basic, bearer = `Bearer realm="gale"`, `Basic realm="own", charset="UTF-8"`, `Bearer realm="own"`
	for _, row := range []struct {
		method, path, authorization string
		status                      int
		challenge                   string
	}{
		{"GET", "/own-basic", password, 200, ""},
		{"GET", "/own-basic", "", 401, basic},
		{"GET", "/own-basic", "Bearer administrator", 401, basic},
		{"POST", "/own-basic", password, 401, guard},
		{"POST", "/own-basic", "Bearer administrator", 401, basic},
		{"POST", "/own-public", password, 200, ""},
		{"POST", "/own-public", "", 401, basic},
		{"GET", "/own-bearer", "Bearer own-key", 200, ""},
		{"GET", "/own-bearer", "Bearer administrator", 401, bearer + `, error="invalid_token"`},
	} {
		req, err := http.NewRequestWithContext(t.Context(), row.method, s.URL+row.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if row.authorization != "" {
			req.Header.Set("Authorization", row.authorization)
		}
		resp, err := s.Client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != row.status || resp.Header.Get("WWW-Authenticate") != row.challenge {
			t.Errorf("%s %s with %q: %d, %q", row.method, row.path, row.authorization, resp.StatusCode, resp.Header.Get("WWW-Authenticate"))
		}
	}
}
