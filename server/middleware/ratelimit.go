package middleware

import (
	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/server"
	"github.com/galeserver/gale/server/limit"
)

// RateLimit limits the rate of requests by key, over all processes and machines. A request
// over the limit gets a 429 response with Retry-After. All responses have the RateLimit
// fields of limit.Decision.WriteHeader; if there are several limits, those of the innermost
// one that was reached. A refused request does not count for the limit.
//
// key returns what is limited, for example the name of a user. Requests for which it
// returns "" are neither limited nor counted. Nil: the address of server.Client.
//
// While Redis or the embedded state server is not available, every request is let through,
// without RateLimit fields. The limiter's Counters.Errors count these requests, and the
// Redis client logs the fault.
func RateLimit(limiter *limit.Limiter, key func(ctx *fasthttp.RequestCtx) string) server.Middleware {
	if key == nil {
		key = func(ctx *fasthttp.RequestCtx) string { return server.Client(ctx).String() }
	}
	return func(next server.Handler) server.Handler {
		if limiter == nil {
			panic("middleware.RateLimit: the limiter is nil")
		}
		return func(ctx *fasthttp.RequestCtx) error {
			name := key(ctx)
			if name == "" {
				return next(ctx)
			}
			decision, err := limiter.Take(ctx, name)
			if err != nil {
				return next(ctx)
			}
			decision.WriteHeader(&ctx.Response.Header)
			if !decision.Granted {
				return &server.Error{Status: fasthttp.StatusTooManyRequests, Reason: "too many requests, try again later", RetryAfter: decision.RetryAfter}
			}
			return next(ctx)
		}
	}
}
