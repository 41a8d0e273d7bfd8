// Package demo is the application in bin/server. It has the demonstrations that users of
// Tornado know, and uses only Gale's public packages, like any other application.
package demo

import (
	"context"
	"flag"
	"fmt"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/app"
	"github.com/galeserver/gale/demo/inspect"
	"github.com/galeserver/gale/demo/upstream"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/server"
	"github.com/galeserver/gale/server/limit"
)

// New returns the application. It has no name, so the command is called server and the
// flags of the application are read from GALE_ variables, like Gale's own.
func New() app.Application {
	d := &demo{}
	return app.Application{
		Flags:       d.flags,
		Check:       d.check,
		Tasks:       []jobs.Definition{inspect.Task(uploadedFiles{}), longRunningTask},
		UploadTasks: []app.UploadTask{{Name: inspect.Name, Accepts: inspect.Accepts}},
		Routes:      d.routes,
		Start:       d.start,
	}
}

// demo is the state of the application in one process.
type demo struct {
	fetchURL string                          // value of -fetch-url
	upstream atomic.Pointer[upstream.Client] // client for fetchURL; nil without that flag
}

func (d *demo) flags(f *flag.FlagSet) {
	f.StringVar(&d.fetchURL, "fetch-url", "", "http or https `address` that /fetch fetches (default none)")
}

// check returns an error for each flag with an invalid value.
func (d *demo) check() []error {
	if d.fetchURL == "" {
		return nil
	}
	if _, err := upstream.Parse(d.fetchURL); err != nil {
		return []error{fmt.Errorf("-fetch-url: %w", err)}
	}
	return nil
}

func (d *demo) routes(s *app.Services) ([]server.Route, error) {
	if d.fetchURL != "" {
		client, err := upstream.New(d.fetchURL, upstream.Options{})
		if err != nil {
			return nil, err
		}
		d.upstream.Store(client) // atomic: after a reload with -single, the previous start may still read it
	}
	clients := new(atomic.Int64)
	if err := s.Metrics.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "gale_broadcast_clients", Help: "Clients of /broadcast that are connected.",
	}, func() float64 { return float64(clients.Load()) })); err != nil {
		return nil, fmt.Errorf("count clients of /broadcast: %w", err)
	}
	wait := &waitRoutes{pool: s.Pool, log: s.Log}
	fetch := &fetchRoutes{client: d.upstream.Load(), pool: s.Pool, log: s.Log}
	shared := &sharedRoutes{limit: s.Limit(limit.Options{Name: "limited"}), cache: s.Cache}
	sockets := &socketRoutes{hub: s.Hub, bus: s.Channels, log: s.Log, maxMessage: s.MaxBody, clients: clients}
	tasks := &taskRoutes{client: s.Tasks}
	get := fasthttp.MethodGet
	return []server.Route{
		{Method: get, Path: "/", Handler: greet},
		{Method: get, Path: "/delay", Handler: wait.delay},
		{Method: get, Path: "/sleep", Handler: wait.sleep},
		{Method: get, Path: "/fetch", Handler: fetch.direct},
		{Method: get, Path: "/fetch/blocking", Handler: fetch.blocking},
		{Method: get, Path: "/limited", Handler: shared.limited},
		{Method: get, Path: "/cached", Handler: shared.cached},
		{Method: get, Path: "/start-task", Writes: true, Handler: tasks.start},
		{Method: fasthttp.MethodPost, Path: "/start-task", Handler: tasks.start},
		// No token is needed, but pages of other origins are refused.
		{Method: get, Path: "/websocket", Handler: sockets.echo, Writes: true, Public: true},
		{Method: get, Path: "/heartbeat", Handler: sockets.heartbeat, Writes: true, Public: true},
		{Method: get, Path: "/asyncio", Handler: sockets.asyncio, Writes: true, Public: true},
		{Method: get, Path: "/backpressure", Handler: sockets.backpressure, Writes: true, Public: true},
		{Method: get, Path: "/broadcast", Handler: sockets.broadcast, Writes: true, Public: true},
	}, nil
}

// start closes the idle connections of the upstream client when the process ends.
func (d *demo) start(ctx context.Context, _ *app.Services) error {
	<-ctx.Done()
	if client := d.upstream.Load(); client != nil {
		client.Close()
	}
	return nil
}

// greet serves GET /.
func greet(ctx *fasthttp.RequestCtx) error {
	greeting := "Hello"
	if given := ctx.QueryArgs().Peek("greeting"); given != nil {
		greeting = string(given)
	}
	server.WriteText(ctx, fasthttp.StatusOK, greeting+", friendly user!")
	return nil
}
