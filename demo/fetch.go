package demo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/app"
	"github.com/galeserver/gale/demo/upstream"
	"github.com/galeserver/gale/server"
)

// fetchPage shows the duration of a fetch. fetchPolicy allows only its inline styles.
const (
	fetchPage = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Time Cost</title></head><body>
<div style="text-align: center">
<div style="font-size: 72px">Time Cost</div>
<div style="font-size: 72px">%.6f</div>
</div></body></html>
`
	fetchPolicy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
)

// fetchRoutes fetch a page from another server.
type fetchRoutes struct {
	client *upstream.Client // nil without -fetch-url
	pool   app.Pool
	log    *slog.Logger
}

// fetchFunc fetches the page. The fetch is part of the trace of its context.
type fetchFunc func(context.Context) error

// direct serves GET /fetch. The number of concurrent fetches is not limited by a pool.
func (f *fetchRoutes) direct(ctx *fasthttp.RequestCtx) error {
	return f.respond(ctx, func(fetch fetchFunc) error { return fetch(ctx) })
}

// blocking serves GET /fetch/blocking, which fetches in the bounded pool.
func (f *fetchRoutes) blocking(ctx *fasthttp.RequestCtx) error {
	return f.respond(ctx, func(fetch fetchFunc) error {
		gone, stop := server.Gone(ctx)
		defer stop()
		return f.pool.Do(gone, fetch)
	})
}

// respond fetches the page with run and responds with the duration in seconds.
func (f *fetchRoutes) respond(ctx *fasthttp.RequestCtx, run func(fetchFunc) error) error {
	if f.client == nil {
		return server.Fail(fasthttp.StatusNotFound, "nothing to fetch: the server was started without -fetch-url")
	}
	var got upstream.Result
	err := run(func(ctx context.Context) (err error) {
		got, err = f.client.Fetch(ctx)
		return err
	})
	if err != nil {
		f.log.Debug("fetch failed", "request_id", server.RequestID(ctx), "error", err)
		return upstreamError(err)
	}
	ctx.SetContentType("text/html; charset=utf-8")
	ctx.Response.Header.Set(fasthttp.HeaderContentSecurityPolicy, fetchPolicy)
	fmt.Fprintf(ctx, fetchPage, got.Took.Seconds())
	return nil
}

// upstreamError maps the errors of a fetch to a status. The client gets only the kind of
// the error; the cause is for the log.
func upstreamError(err error) error {
	for _, known := range []struct {
		err    error
		status int
	}{
		{upstream.ErrTimeout, fasthttp.StatusGatewayTimeout},
		{upstream.ErrUnreachable, fasthttp.StatusBadGateway},
		{upstream.ErrBadResponse, fasthttp.StatusBadGateway},
	} {
		if errors.Is(err, known.err) {
			return &server.Error{Status: known.status, Reason: known.err.Error(), Err: err}
		}
	}
	return err
}
