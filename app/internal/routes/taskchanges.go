package routes

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync/atomic"

	"github.com/valyala/fasthttp"
	"golang.org/x/sync/errgroup"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
	"github.com/galeserver/gale/server"
)

const (
	// maxChanges is the largest number of tasks that a request changes.
	maxChanges = 10_000
	// changesAtOnce is how many tasks are changed at the same time: stores write
	// concurrent changes together.
	changesAtOnce = 32
)

// changeKeys are the keys of the body of POST /tasks/cancel, /tasks/retry and /tasks/purge.
var changeKeys = []string{"state", "task", "queue", "q", "since", "until", "ids"}

// changeCount is the body of the response to POST /tasks/cancel, /tasks/retry and
// /tasks/purge.
type changeCount struct {
	Count int64 `json:"count"` // number of tasks that were changed
	More  bool  `json:"more"`  // whether maxChanges was reached, so that there may be more
}

// cancelAll is POST /tasks/cancel.
func (m *manageRoutes) cancelAll(ctx *fasthttp.RequestCtx) error {
	return m.change(ctx, m.store.Cancel, func(s jobs.State) bool { return !s.Final() })
}

// retryAll is POST /tasks/retry.
func (m *manageRoutes) retryAll(ctx *fasthttp.RequestCtx) error {
	return m.change(ctx, m.store.Requeue, func(s jobs.State) bool { return s.Final() && s != jobs.StateSuccess })
}

// purgeAll is POST /tasks/purge: it cancels tasks that wait and dead letters.
func (m *manageRoutes) purgeAll(ctx *fasthttp.RequestCtx) error {
	purge := func(ctx context.Context, id string) (*jobs.Task, error) {
		n, err := m.store.Purge(ctx, []string{id}, driver.Purgeable)
		if err == nil && n == 0 {
			err = jobs.ErrState // it has started or ended meanwhile
		}
		return nil, err
	}
	return m.change(ctx, purge, func(s jobs.State) bool { return slices.Contains(driver.Purgeable, s) })
}

// change calls op for all tasks that the body selects and whose state permits it. Each task is
// changed by itself, so the request may be repeated after an error.
func (m *manageRoutes) change(ctx *fasthttp.RequestCtx, op func(context.Context, string) (*jobs.Task, error), permits func(jobs.State) bool) error {
	body, err := server.ReadJSON(ctx)
	if err != nil {
		return err
	}
	q, ids, err := decodeChange(body)
	if err != nil {
		return server.Fail(fasthttp.StatusBadRequest, err.Error())
	}
	c := changer{store: m.store, op: op, permits: permits, query: q}
	work := server.Context(ctx)
	if ids != nil {
		err = each(work, ids, c.find)
	} else {
		err = c.changeAll(work)
	}
	if err != nil {
		return err
	}
	return server.WriteJSON(ctx, fasthttp.StatusOK, changeCount{c.count.Load(), c.more})
}

// decodeChange decodes a selection of tasks. ids is nil if the body has none.
func decodeChange(body []byte) (q jobs.Query, ids []string, err error) {
	o, err := readBody(body)
	if err != nil {
		return q, nil, err
	}
	o.only(changeKeys, nil)
	q.State, q.Name, q.Queue = jobs.State(o.text("state")), o.text("task"), o.text("queue")
	if o.has("state") && !q.State.Valid() {
		o.fault("state", "%q is not one of %s", q.State, jobs.StateNames())
	}
	if q.Text = o.text("q"); len(q.Text) > maxSearchText {
		o.fault("q", "is longer than %d bytes", maxSearchText)
	}
	q.Since, _ = o.moment("since", "")
	q.Until, _ = o.moment("until", "")
	if o.is("ids", kindArray) {
		if err := json.Unmarshal(o.values["ids"], &ids); err != nil {
			o.fault("ids", "must contain texts only")
		} else if len(ids) > maxChanges {
			o.fault("ids", "has %d ids; the limit is %d", len(ids), maxChanges)
		}
		ids = append([]string{}, ids...) // not nil
	}
	if !slices.ContainsFunc(changeKeys, o.has) && len(o.wrong.all) == 0 {
		o.fault("body", "selects all tasks; give state, task, queue, q, since, until or ids")
	}
	return q, ids, o.wrong.err()
}

// changer changes tasks.
type changer struct {
	store   driver.Store
	op      func(ctx context.Context, id string) (*jobs.Task, error)
	permits func(jobs.State) bool // whether op can change a task in the state
	query   jobs.Query

	count atomic.Int64
	more  bool
}

// changeAll changes the tasks that the query selects, the newest first.
func (c *changer) changeAll(ctx context.Context) error {
	q := c.query
	q.Limit = jobs.MaxPage
	for {
		page, err := c.store.List(ctx, q)
		if err != nil {
			return err
		}
		if err := each(ctx, page.Tasks, c.one); err != nil {
			return err
		}
		if q.Before = page.Next; q.Before == 0 {
			return nil
		}
		if c.count.Load() >= maxChanges {
			c.more = true
			return nil
		}
	}
}

// find changes the task with an id, if the query selects it.
func (c *changer) find(ctx context.Context, id string) error {
	t, err := c.store.Get(ctx, id)
	switch {
	case errors.Is(err, jobs.ErrNotFound):
		return nil
	case err != nil:
		return err
	case !c.query.Matches(t):
		return nil
	}
	return c.one(ctx, t)
}

// one changes a task, unless its state does not permit it.
func (c *changer) one(ctx context.Context, t *jobs.Task) error {
	if !c.permits(t.State) {
		return nil
	}
	_, err := c.op(ctx, t.ID)
	if err == nil {
		c.count.Add(1)
	}
	if errors.Is(err, jobs.ErrNotFound) || errors.Is(err, jobs.ErrState) { // it has changed meanwhile
		return nil
	}
	return err
}

// each calls f for all elements, several at once, and returns the first error.
func each[T any](ctx context.Context, all []T, f func(context.Context, T) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(changesAtOnce)
	for _, v := range all {
		g.Go(func() error { return f(ctx, v) })
	}
	return g.Wait()
}
