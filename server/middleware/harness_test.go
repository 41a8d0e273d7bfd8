package middleware_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/server"
)

// site is a running server.
type site struct {
	t   *testing.T
	url string
	log *testutil.LogBuffer
}

// serve starts a server of routes, which ends with the test.
func serve(t *testing.T, routes ...server.Route) *site {
	t.Helper()
	log := &testutil.LogBuffer{}
	s, err := server.New(server.Options{Logger: slog.New(slog.NewTextHandler(log, nil))}, routes)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx, ln) }() // ends with ctx
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return &site{t: t, url: "http://" + ln.Addr().String(), log: log}
}

// route is a GET route with a handler in middleware.
func route(path string, h server.Handler, m ...server.Middleware) server.Route {
	return server.Route{Method: "GET", Path: path, Middleware: m, Handler: h}
}

// text is a handler that responds with words.
func text(words string) server.Handler {
	return func(ctx *fasthttp.RequestCtx) error {
		server.WriteText(ctx, fasthttp.StatusOK, words)
		return nil
	}
}

type response struct {
	status int
	header http.Header
	body   string
}

// get sends a GET request with pairs of a field's name and value.
func (s *site) get(path string, fields ...string) response {
	s.t.Helper()
	return s.send(s.t.Context(), http.MethodGet, path, fields...)
}

func (s *site) send(ctx context.Context, method, path string, fields ...string) response {
	s.t.Helper()
	got, err := s.try(ctx, method, path, fields...)
	if err != nil {
		s.t.Fatal(err)
	}
	return got
}

// try is send for requests that may fail.
func (s *site) try(ctx context.Context, method, path string, fields ...string) (response, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, s.url+path, nil)
	if err != nil {
		return response{}, err
	}
	for i := 0; i < len(fields); i += 2 {
		req.Header.Add(fields[i], fields[i+1])
		if fields[i] == "Host" {
			req.Host = fields[i+1]
		}
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true}}
	resp, err := client.Do(req)
	if err != nil {
		return response{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return response{resp.StatusCode, resp.Header, string(body)}, err
}

// A missing argument, or one that cannot work, is an error of New.
func wantFault(t *testing.T, m server.Middleware, want string) {
	t.Helper()
	_, err := server.New(server.Options{}, []server.Route{route("/", text(""), m)})
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("want an error with %q, got %v", want, err)
	}
}
