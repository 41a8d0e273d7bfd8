package demo

import (
	"fmt"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/server"
)

// maxDelay is how long a client may ask to be kept waiting.
const maxDelay = time.Minute

// param is a parameter of the query, and whether it is there: an empty one is
// not the default.
func param(ctx *fasthttp.RequestCtx, name string) (text string, given bool) {
	args := ctx.QueryArgs()
	return string(args.Peek(name)), args.Has(name)
}

// duration reads a parameter as seconds, decimal or not, or as a Go duration, of
// at most maxDelay.
func duration(ctx *fasthttp.RequestCtx, name string, value time.Duration) (time.Duration, error) {
	text, given := param(ctx, name)
	if !given {
		return value, nil
	}
	d, err := jobs.ParseSpan(text)
	if err != nil {
		d, err = jobs.ParseSeconds(text)
	}
	if err != nil || d > maxDelay {
		return 0, server.Fail(fasthttp.StatusBadRequest, fmt.Sprintf("%s: %q is not within 0 and %v, in seconds", name, text, maxDelay))
	}
	return d, nil
}

// number reads a parameter as a whole number from 0 to limit.
func number(ctx *fasthttp.RequestCtx, name string, value, limit int) (int, error) {
	text, given := param(ctx, name)
	if !given {
		return value, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > limit {
		return 0, server.Fail(fasthttp.StatusBadRequest, fmt.Sprintf("%s: %q is not within 0 and %d", name, text, limit))
	}
	return n, nil
}
