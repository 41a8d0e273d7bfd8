package routes

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/server"
	"github.com/galeserver/gale/server/cache"
	"github.com/galeserver/gale/server/limit"
)

const (
	// cachedFor is how long /cached answers from the cache.
	cachedFor = 10 * time.Second
	// expense is how long the operation behind /cached takes.
	expense = 100 * time.Millisecond
	// limitPolicy is the name of the limit in the RateLimit fields.
	limitPolicy = "client"
)

// sharedRoutes answer from what all processes share.
type sharedRoutes struct {
	limit *limit.Limiter
	cache *cache.Cache
}

// limited is GET /limited. While nobody counts nobody is refused; the log says
// when that begins (redisdb.FailFast).
func (s *sharedRoutes) limited(ctx *fasthttp.RequestCtx) error {
	d, err := s.limit.Take(ctx, server.Client(ctx).String())
	if err == nil {
		sayLimit(ctx, d)
	}
	if err == nil && !d.Granted {
		server.WriteText(ctx, fasthttp.StatusTooManyRequests, "Too many requests. Please try again later.")
		return nil
	}
	server.WriteText(ctx, fasthttp.StatusOK, "Request processed successfully.")
	return nil
}

// sayLimit sets the fields of the IETF's draft-ietf-httpapi-ratelimit-headers-10
// and, for who is refused, Retry-After (RFC 9110 §10.2.3).
func sayLimit(ctx *fasthttp.RequestCtx, d limit.Decision) {
	h := &ctx.Response.Header
	h.Set("RateLimit-Policy", fmt.Sprintf("%q;q=%d;w=%d", limitPolicy, d.Limit, seconds(d.Window)))
	h.Set("RateLimit", fmt.Sprintf("%q;r=%d;t=%d", limitPolicy, d.Remaining, seconds(d.RetryAfter)))
	if !d.Granted {
		h.Set(fasthttp.HeaderRetryAfter, strconv.Itoa(seconds(d.RetryAfter)))
	}
}

// seconds rounds up: whoever comes back then is not too early.
func seconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }

// cached is GET /cached.
func (s *sharedRoutes) cached(ctx *fasthttp.RequestCtx) error {
	gone, stop := server.Gone(ctx)
	defer stop()
	value, fresh, err := s.cache.Get(gone, "operation", cachedFor, expensiveOperation)
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

// expensiveOperation stands for a query that takes its time.
func expensiveOperation(ctx context.Context) (string, error) {
	if err := pause(ctx, expense); err != nil {
		return "", err
	}
	return "Expensive operation result", nil
}
