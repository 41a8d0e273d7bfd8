package middleware

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/server"
)

// Timeout gives each request a deadline, d after it reaches the middleware. The contexts
// of server.Context, server.Gone and the requests of server.HTTP end then. A handler that
// passes its context on and returns the resulting error gets the client a 504 response;
// the server logs it if the error says more than [context.DeadlineExceeded]. The response
// has no Retry-After, because nothing is known about the next attempt.
//
// A handler is never abandoned. One that does not look at its context runs to its end, and
// its response is sent, however late. Neither a body stream, an upload nor a connection
// that was taken over (WebSockets, event streams) is limited, except the responses of
// net/http handlers.
//
// Of several timeouts the earliest counts. If d is not positive there is no deadline.
func Timeout(d time.Duration) server.Middleware {
	return func(next server.Handler) server.Handler {
		if d <= 0 {
			return next
		}
		return func(ctx *fasthttp.RequestCtx) error {
			deadline := time.Now().Add(d)
			server.SetDeadline(ctx, deadline)
			err := next(ctx)
			// A connection whose deadline a client library has taken from the context
			// fails with an error of package os.
			if errors.Is(err, os.ErrDeadlineExceeded) && !time.Now().Before(deadline) {
				return fmt.Errorf("%w: %w", context.DeadlineExceeded, err)
			}
			return err
		}
	}
}
