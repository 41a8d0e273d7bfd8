package routes

import (
	"context"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/app/internal/access"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
	"github.com/galeserver/gale/server"
)

// queueRoutes are the routes of queues.
type queueRoutes struct{ store driver.Store }

func (q *queueRoutes) routes(guard *access.Guard) []server.Route {
	return []server.Route{
		{Method: fasthttp.MethodGet, Path: "/queues", Admit: guard.Read, Handler: q.list},
		{Method: fasthttp.MethodPost, Path: "/queues/{name}/pause", Admit: guard.Write, Handler: q.pause},
		{Method: fasthttp.MethodPost, Path: "/queues/{name}/resume", Admit: guard.Write, Handler: q.resume},
	}
}

// list is GET /queues.
func (q *queueRoutes) list(ctx *fasthttp.RequestCtx) error {
	all, err := q.store.Depth(server.Context(ctx))
	if err != nil {
		return err
	}
	if all == nil {
		all = []driver.Depth{}
	}
	return server.WriteJSON(ctx, fasthttp.StatusOK, all)
}

// pause is POST /queues/{name}/pause.
func (q *queueRoutes) pause(ctx *fasthttp.RequestCtx) error { return q.change(ctx, q.store.Pause) }

// resume is POST /queues/{name}/resume.
func (q *queueRoutes) resume(ctx *fasthttp.RequestCtx) error { return q.change(ctx, q.store.Resume) }

// change changes a queue, and responds with the queue after the change.
func (q *queueRoutes) change(ctx *fasthttp.RequestCtx, op func(ctx context.Context, queue string) error) error {
	name := server.Param(ctx, "name")
	if !jobs.ValidID(name) {
		return server.Fail(fasthttp.StatusBadRequest, "a queue has a name of 1 to 128 letters, digits, dots, underscores and hyphens")
	}
	work := server.Context(ctx)
	if err := op(work, name); err != nil {
		return err
	}
	all, err := q.store.Depth(work)
	if err != nil {
		return err
	}
	queue := driver.Depth{Queue: name} // a queue that is empty and not paused is not listed
	for _, d := range all {
		if d.Queue == name {
			queue = d
		}
	}
	return server.WriteJSON(ctx, fasthttp.StatusOK, queue)
}
