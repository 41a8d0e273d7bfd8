package routes

import (
	"context"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/internal/sleep"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/server"
)

// lookAtWorkflow is the polling interval while a client waits for a workflow.
const lookAtWorkflow = 250 * time.Millisecond

// postWorkflow is POST /tasks with a chain, a group or a chord. The workflow gets the id
// in the body, or else a new one.
func (t *taskRoutes) postWorkflow(ctx *fasthttp.RequestCtx, w newWork) error {
	send := t.sendGroup
	if w.Chain != nil {
		send = t.sendChain
	}
	id, created, err := send(ctx, w)
	if err != nil {
		return err
	}
	state, err := t.client.Workflow(ctx, id)
	if err != nil {
		return err
	}
	ctx.Response.Header.Set(fasthttp.HeaderLocation, server.Location(ctx, t.prefix+"/workflows/"+id))
	return server.WriteJSON(ctx, acceptedStatus(created), state)
}

func (t *taskRoutes) sendChain(ctx context.Context, w newWork) (id string, created bool, err error) {
	chain := w.Chain
	if len(chain) > 0 && chain[0].Group != nil {
		if g := chain[0].Group; w.ID != "" && g.ID != "" && g.ID != w.ID {
			return "", false, server.Fail(fasthttp.StatusBadRequest, "body: the id of a chain and the id of the group with which it begins must be equal")
		} else if w.ID != "" {
			g.ID = w.ID
		}
		g, err := jobs.GroupOf(chain)
		if err != nil {
			return "", false, err
		}
		return t.client.EnqueueGroup(ctx, g)
	}
	if w.ID != "" && len(chain) > 0 {
		if chain[0].ID != "" && chain[0].ID != w.ID {
			return "", false, server.Fail(fasthttp.StatusBadRequest, "body: the id of a chain and the id of its first task must be equal")
		}
		chain[0].ID = w.ID
	}
	first, created, err := t.client.EnqueueChain(ctx, chain)
	if err != nil {
		return "", false, err
	}
	return first.ID, created, nil
}

func (t *taskRoutes) sendGroup(ctx context.Context, w newWork) (id string, created bool, err error) {
	g := jobs.NewGroup{ID: w.ID, Members: w.Group}
	if w.Callback != nil {
		g.Callback, g.Immutable, g.Results = &w.Callback.NewTask, w.Callback.Immutable, w.Callback.Results
	}
	return t.client.EnqueueGroup(ctx, g)
}

// workflow is GET /workflows/{id}. With the parameter wait, the response is sent when the
// workflow has ended or the time is up.
func (t *taskRoutes) workflow(ctx *fasthttp.RequestCtx) error {
	id := server.Param(ctx, "id")
	wait, err := server.QueryDuration(ctx, "wait", 0, maxWait)
	if err != nil {
		return err
	}
	within, cancel := context.WithTimeout(t.leaving, wait)
	defer cancel()
	for {
		w, err := t.client.Workflow(ctx, id)
		if err != nil {
			return err
		}
		if w.State.Final() || !sleep.For(within, lookAtWorkflow) {
			return server.WriteJSON(ctx, fasthttp.StatusOK, w)
		}
	}
}

// cancelWorkflow is DELETE /workflows/{id}. An ended workflow gets a 409 response.
func (m *manageRoutes) cancelWorkflow(ctx *fasthttp.RequestCtx) error {
	id := server.Param(ctx, "id")
	if err := m.store.CancelWorkflow(ctx, id); err != nil {
		return stateError(err)
	}
	w, err := m.client.Workflow(ctx, id)
	if err != nil {
		return err
	}
	return server.WriteJSON(ctx, fasthttp.StatusOK, w)
}

// log is GET /tasks/{id}/log.
func (t *taskRoutes) log(ctx *fasthttp.RequestCtx) error {
	text, err := t.store.Log(ctx, server.Param(ctx, "id"))
	if err != nil {
		return err
	}
	server.WriteText(ctx, fasthttp.StatusOK, text)
	return nil
}
