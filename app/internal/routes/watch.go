package routes

import (
	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/app/internal/access"
	"github.com/galeserver/gale/app/internal/watch"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/server"
	"github.com/galeserver/gale/server/realtime"
)

// watchRoutes is the route for watching tasks.
type watchRoutes struct {
	hub     *realtime.Hub
	watches *watch.Watches
	store   jobs.Reader
}

func (w *watchRoutes) routes(guard *access.Guard) []server.Route {
	return []server.Route{{Method: fasthttp.MethodGet, Path: "/tasks/{id}/watch", Admit: access.WithToken(guard.Write), Handler: w.watch}}
}

// watch is WS /tasks/{id}/watch. An unknown task gets a 404 response.
func (w *watchRoutes) watch(ctx *fasthttp.RequestCtx) error {
	id := server.Param(ctx, "id")
	if !w.watches.Watched(id) {
		if _, err := w.store.Get(ctx, id); err != nil {
			return err
		}
	}
	return w.hub.Upgrade(ctx, realtime.Upgrade{Handler: w.watches.Handler(id)})
}
