package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/internal/redistest"
	"github.com/galeserver/gale/internal/sharedtest"
	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/server"
	"github.com/galeserver/gale/server/cache"
	"github.com/galeserver/gale/server/middleware"
)

// Of many requests in two processes the handler gets one.
func TestCacheStampede(t *testing.T) {
	t.Parallel()
	sharedtest.Each(t, func(t *testing.T, address string) {
		const clients = 60
		var calls, arrived atomic.Int64
		all := make(chan struct{})
		arrive := func(next server.Handler) server.Handler {
			return func(ctx *fasthttp.RequestCtx) error {
				if arrived.Add(1) == clients {
					close(all)
				}
				return next(ctx)
			}
		}
		handler := func(ctx *fasthttp.RequestCtx) error {
			calls.Add(1)
			<-all
			return text("made")(ctx)
		}
		var sites []*site
		for range 2 {
			// A lease that does not end while the machine is busy.
			c := cache.New(sharedtest.Open(t, address), cache.Options{Lease: time.Minute})
			sites = append(sites, serve(t, route("/", handler, arrive, middleware.Cache(c, time.Hour, middleware.CacheOptions{}))))
		}
		var running sync.WaitGroup
		for i := range clients {
			running.Go(func() { // ends with its response
				got, err := sites[i%2].try(t.Context(), "GET", "/", "Host", "x")
				if err != nil || got.status != 200 || got.body != "made" {
					t.Errorf("%+v, %v", got, err)
				}
			})
		}
		running.Wait()
		if calls.Load() != 1 {
			t.Errorf("the handler ran %d times", calls.Load())
		}
	})
}

// A request that waits for the response of another one ends with its own context, and if
// the other one fails, because its client has left, it runs its own handler.
func TestCacheWaiting(t *testing.T) {
	t.Parallel()
	inside, arrived := make(chan struct{}), make(chan struct{}, 10)
	var calls atomic.Int64
	handler := func(ctx *fasthttp.RequestCtx) error {
		if calls.Add(1) > 1 {
			return text("second")(ctx)
		}
		inside <- struct{}{}
		c := server.Context(ctx)
		<-c.Done()
		return context.Cause(c)
	}
	arrive := func(next server.Handler) server.Handler {
		return func(ctx *fasthttp.RequestCtx) error {
			if len(ctx.Request.Header.Peek("X-Short")) > 0 {
				server.SetDeadline(ctx, time.Now().Add(time.Millisecond))
			}
			arrived <- struct{}{}
			return next(ctx)
		}
	}
	c := cache.New(sharedtest.Open(t, sharedtest.StateServer(t)), cache.Options{Lease: time.Minute})
	s := serve(t, route("/", handler, arrive, middleware.Cache(c, time.Hour, middleware.CacheOptions{})))

	leader, leave := context.WithCancel(t.Context())
	left := make(chan error, 1)
	go func() { // ends when leave is called
		_, err := s.try(leader, "GET", "/")
		left <- err
	}()
	<-arrived
	<-inside
	if got := s.get("/", "X-Short", "1"); got.status != http.StatusGatewayTimeout {
		t.Errorf("a request with a deadline: %+v", got)
	}
	<-arrived
	follower := make(chan response, 1)
	go func() { // ends with its response
		got, err := s.try(t.Context(), "GET", "/")
		if err != nil {
			t.Error(err)
		}
		follower <- got
	}()
	<-arrived
	leave()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("the client that left: %v", err)
	}
	if got := <-follower; got.status != 200 || got.body != "second" {
		t.Errorf("the one that waited: %+v", got)
	}
	if calls.Load() != 2 {
		t.Errorf("%d calls", calls.Load())
	}
}

// After a response that must not be stored, requests for it do not wait for each other. After
// a failure they do, and the next response is stored.
func TestCacheMark(t *testing.T) {
	t.Parallel()
	c := newCache(t, sharedtest.StateServer(t))
	var calls atomic.Int64
	both := make(chan struct{})
	missing := func(ctx *fasthttp.RequestCtx) error {
		if calls.Add(1) == 3 {
			close(both)
		}
		if calls.Load() > 1 {
			<-both // the second request ends only if the third one reaches the handler
		}
		ctx.SetStatusCode(http.StatusNotFound)
		return nil
	}
	failing := &counter{}
	failing.after = func(ctx *fasthttp.RequestCtx) error {
		if string(ctx.Response.Body()) == "call 1" {
			ctx.SetStatusCode(http.StatusServiceUnavailable)
		}
		return nil
	}
	m := middleware.Cache(c, time.Hour, middleware.CacheOptions{})
	s := serve(t, route("/missing", missing, m), route("/failing", failing.handle, m))
	if got := s.get("/missing"); got.status != http.StatusNotFound {
		t.Errorf("%+v", got)
	}
	var running sync.WaitGroup
	for range 2 {
		running.Go(func() { // ends with its response
			if got, err := s.try(t.Context(), "GET", "/missing"); err != nil || got.status != http.StatusNotFound {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
	running.Wait()
	for i, want := range []string{"503 call 1", "200 call 2", "200 call 2"} {
		if got := s.get("/failing"); fmt.Sprint(got.status, " ", got.body) != want {
			t.Errorf("request %d: %+v, want %s", i, got, want)
		}
	}
}

// A response is stored for ttl, or for the shorter time that it says.
func TestCacheExpiry(t *testing.T) {
	t.Parallel()
	c := newCache(t, sharedtest.StateServer(t))
	short := &counter{}
	s := serve(t, route("/ttl", short.handle, middleware.Cache(c, 20*time.Millisecond, middleware.CacheOptions{})))
	s.get("/ttl")
	testutil.Eventually(t, "the response expires", func() bool { return s.get("/ttl").body != "call 1" })
	said := &counter{after: func(ctx *fasthttp.RequestCtx) error {
		ctx.Response.Header.Set("Cache-Control", "max-age=1")
		return nil
	}}
	s = serve(t, route("/said", said.handle, middleware.Cache(c, time.Hour, middleware.CacheOptions{})))
	s.get("/said")
	testutil.Eventually(t, "the response expires", func() bool { return s.get("/said").body != "call 1" })
}

// Without Redis every request is served, and nothing is stored.
func TestCacheWithoutRedis(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	var c counter
	s := serve(t, route("/", c.handle, middleware.Cache(newCache(t, redis.URL()), time.Hour, middleware.CacheOptions{})))
	if first, second := s.get("/"), s.get("/"); first.body != "call 1" || second.body != "call 1" {
		t.Errorf("with Redis: %+v, %+v", first, second)
	}
	redis.Kill()
	for n := 2; n <= 3; n++ {
		if got := s.get("/"); got.status != 200 || got.body != fmt.Sprint("call ", n) {
			t.Errorf("without Redis: %+v", got)
		}
	}
}
