package demo

import (
	"context"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/server"
	"github.com/galeserver/gale/server/cache"
	"github.com/galeserver/gale/server/limit"
)

const (
	// cacheTTL is the time that the value of /cached is cached.
	cacheTTL = 10 * time.Second
	// operationTime is the duration of the operation whose result /cached caches.
	operationTime = 100 * time.Millisecond
)

// sharedRoutes use the rate limit and the cache that all processes share.
type sharedRoutes struct {
	limit *limit.Limiter
	cache *cache.Cache
}

// limited serves GET /limited. If the store of the rate limit is not available, it accepts
// every request, and Gale logs the fault.
func (s *sharedRoutes) limited(ctx *fasthttp.RequestCtx) error {
	d, err := s.limit.Take(ctx, server.Client(ctx).String())
	if err == nil {
		d.WriteHeader(&ctx.Response.Header)
	}
	if err == nil && !d.Granted {
		server.WriteText(ctx, fasthttp.StatusTooManyRequests, "Too many requests. Please try again later.")
		return nil
	}
	server.WriteText(ctx, fasthttp.StatusOK, "Request processed successfully.")
	return nil
}

// cached serves GET /cached.
func (s *sharedRoutes) cached(ctx *fasthttp.RequestCtx) error {
	gone, stop := server.Gone(ctx)
	defer stop()
	value, fresh, err := s.cache.Get(gone, "operation", cacheTTL, expensiveOperation)
	if err != nil {
		return err
	}
	kind := "Cached"
	if fresh {
		kind = "New"
	}
	server.WriteText(ctx, fasthttp.StatusOK, kind+" response: "+value)
	return nil
}

// expensiveOperation stands for a slow query.
func expensiveOperation(ctx context.Context) (string, error) {
	if err := pause(ctx, operationTime); err != nil {
		return "", err
	}
	return "Expensive operation result", nil
}
