package middleware_test

import (
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/internal/redistest"
	"github.com/galeserver/gale/internal/sharedtest"
	"github.com/galeserver/gale/server/limit"
	"github.com/galeserver/gale/server/middleware"
)

func TestRateLimit(t *testing.T) {
	t.Parallel()
	sharedtest.Each(t, func(t *testing.T, address string) {
		rdb := sharedtest.Open(t, address)
		// A window of hours: no test is slow enough to earn a request in it.
		limits := func(name string) *limit.Limiter {
			return limit.New(rdb, limit.Options{Name: name, Limit: 2, Window: 4 * time.Hour})
		}
		s := serve(t,
			route("/address", text("done"), middleware.RateLimit(limits("address"), nil)),
			route("/user", text("done"), middleware.RateLimit(limits("user"), func(ctx *fasthttp.RequestCtx) string {
				return string(ctx.Request.Header.Peek("X-User"))
			})))
		for i, status := range []int{200, 200, 429, 429} {
			got := s.get("/address")
			if got.status != status || got.header.Get("RateLimit-Policy") != `"client";q=2;w=14400` || got.header.Get("RateLimit") == "" {
				t.Errorf("request %d: %+v", i, got)
			}
			if status == 429 && (got.body != `{"code":429,"reason":"too many requests, try again later"}` || got.header.Get("Retry-After") == "") {
				t.Errorf("request %d: %+v", i, got)
			}
		}
		for i, row := range []struct {
			user   string
			status int
		}{{"ada", 200}, {"ada", 200}, {"ada", 429}, {"eve", 200}, {"", 200}, {"", 200}, {"", 200}} {
			got := s.get("/user", "X-User", row.user)
			if got.status != row.status || (got.header.Get("RateLimit") == "") != (row.user == "") {
				t.Errorf("request %d, %q: %+v", i, row.user, got)
			}
		}
	})
	wantFault(t, middleware.RateLimit(nil, nil), "middleware.RateLimit: the limiter is nil")
}

// While Redis is away, requests are let through and counted.
func TestRateLimitWithoutRedis(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	var counted limit.Counters
	l := limit.New(sharedtest.Open(t, redis.URL()), limit.Options{Window: time.Hour, Counters: &counted})
	s := serve(t, route("/", text("done"), middleware.RateLimit(l, nil)))
	if first, second := s.get("/"), s.get("/"); first.status != 200 || second.status != 429 {
		t.Errorf("with Redis: %+v, %+v", first, second)
	}
	redis.Kill()
	for range 2 {
		if got := s.get("/"); got.status != 200 || got.body != "done" || got.header.Get("RateLimit") != "" {
			t.Errorf("without Redis: %+v", got)
		}
	}
	if counted.Errors.Load() != 2 || counted.Granted.Load() != 1 || counted.Refused.Load() != 1 {
		t.Errorf("counted %+v", &counted)
	}
}
