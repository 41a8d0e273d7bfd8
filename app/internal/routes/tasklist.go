package routes

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/app/internal/access"
	"github.com/galeserver/gale/internal/utf8text"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
	"github.com/galeserver/gale/jobs/workerapi"
	"github.com/galeserver/gale/server"
)

// manageRoutes are the routes that list, cancel and retry tasks.
type manageRoutes struct {
	client  *jobs.Client
	store   driver.Store
	tasks   *jobs.Registry
	workers *workerapi.Service
	prefix  string // path prefix of these routes
}

func (m *manageRoutes) routes(guard *access.Guard) []server.Route {
	return []server.Route{
		{Method: fasthttp.MethodGet, Path: "/tasks", Admit: guard.Read, Handler: m.list},
		{Method: fasthttp.MethodGet, Path: "/tasks/types", Admit: guard.Read, Handler: m.types},
		{Method: fasthttp.MethodPost, Path: "/tasks/cancel", Admit: guard.Write, Handler: m.cancelAll},
		{Method: fasthttp.MethodPost, Path: "/tasks/retry", Admit: guard.Write, Handler: m.retryAll},
		{Method: fasthttp.MethodPost, Path: "/tasks/purge", Admit: guard.Write, Handler: m.purgeAll},
		{Method: fasthttp.MethodDelete, Path: "/tasks/{id}", Admit: guard.Write, Handler: m.cancel},
		{Method: fasthttp.MethodPost, Path: "/tasks/{id}/retry", Admit: guard.Write, Handler: m.retry},
		{Method: fasthttp.MethodDelete, Path: "/workflows/{id}", Admit: guard.Write, Handler: m.cancelWorkflow},
	}
}

// maxSearchText is the largest size of the parameter q, in bytes.
const maxSearchText = 256

// taskPage is the body of the response to GET /tasks.
type taskPage struct {
	Tasks []*jobs.Task `json:"tasks"`
	Next  *string      `json:"next"` // link to the next page, or null
}

// maxSearch is how long GET /tasks looks for a task of the first page.
const maxSearch = time.Second

// list is GET /tasks?state=&task=&queue=&q=&since=&until=&limit=&before=.
func (m *manageRoutes) list(ctx *fasthttp.RequestCtx) error {
	q, params, err := taskQuery(ctx.QueryArgs())
	if err != nil {
		return server.Fail(fasthttp.StatusBadRequest, err.Error())
	}
	var found *jobs.Page
	for end := time.Now().Add(maxSearch); ; q.Before = found.Next {
		if found, err = m.store.List(ctx, q); err != nil {
			return err
		}
		if len(found.Tasks) > 0 || found.Next == 0 || time.Now().After(end) {
			break
		}
	}
	response := taskPage{Tasks: found.Tasks}
	if found.Next != 0 {
		params.Set("before", strconv.FormatInt(found.Next, 10))
		next := server.Link(ctx, m.prefix+"/tasks?"+params.Encode())
		response.Next = &next
	}
	return server.WriteJSON(ctx, fasthttp.StatusOK, response)
}

// taskQuery decodes the parameters and also returns them for the link to the next page.
// Unknown parameters are errors.
func taskQuery(args *fasthttp.Args) (q jobs.Query, params url.Values, err error) {
	params = url.Values{}
	for k, v := range args.All() {
		name, value := string(k), string(v)
		params.Set(name, value)
		if value == "" {
			return q, nil, fmt.Errorf("%s: is empty; remove it", name)
		}
		switch name {
		case "state":
			q.State = jobs.State(value)
			if !q.State.Valid() {
				return q, nil, fmt.Errorf("state: %q is not one of %s", value, jobs.StateNames())
			}
		case "task":
			q.Name = value
		case "queue":
			q.Queue = value
		case "q":
			if q.Text = value; len(value) > maxSearchText || !utf8.ValidString(value) {
				return q, nil, fmt.Errorf("q: is not UTF-8 text of at most %d bytes", maxSearchText)
			}
		case "since", "until":
			at, err := time.Parse(time.RFC3339Nano, value)
			if err != nil {
				return q, nil, fmt.Errorf("%s: %q is not a time as in RFC 3339, such as 2026-01-02T15:04:05Z", name, utf8text.Cut(value, shownValue))
			}
			if name == "since" {
				q.Since = at
			} else {
				q.Until = at
			}
		case "limit":
			if q.Limit, err = strconv.Atoi(value); err != nil || q.Limit < 1 || q.Limit > jobs.MaxPage {
				return q, nil, fmt.Errorf("limit: %q is not between 1 and %d", value, jobs.MaxPage)
			}
		case "before":
			if q.Before, err = strconv.ParseInt(value, 10, 64); err != nil || q.Before < 1 {
				return q, nil, fmt.Errorf("before: %q is not valid; use the link in next", value)
			}
		default:
			return q, nil, fmt.Errorf("unknown parameter %q; valid are state, task, queue, q, since, until, limit, before", name)
		}
	}
	return q, params, nil
}

// taskType is a task in GET /tasks/types.
type taskType struct {
	Task string          `json:"task"`
	Args json.RawMessage `json:"args"`
}

// types is GET /tasks/types.
func (m *manageRoutes) types(ctx *fasthttp.RequestCtx) error {
	all := []taskType{}
	for _, name := range m.tasks.Names() {
		d, err := m.tasks.Lookup(name)
		if err != nil {
			return err
		}
		schema, err := d.Schema()
		if err != nil {
			return err
		}
		all = append(all, taskType{name, schema})
	}
	announced, err := m.announced(ctx)
	if err != nil {
		return err
	}
	all = append(all, announced...)
	slices.SortFunc(all, func(a, b taskType) int { return strings.Compare(a.Task, b.Task) })
	return server.WriteJSON(ctx, fasthttp.StatusOK, all)
}

// announced returns the tasks that only workers of other programs have.
func (m *manageRoutes) announced(ctx *fasthttp.RequestCtx) (all []taskType, err error) {
	types, err := m.workers.Directory().Types(ctx)
	if err != nil {
		return nil, err
	}
	for name, definitions := range types {
		if _, err := m.tasks.Lookup(name); err == nil {
			continue
		}
		schema, err := jobs.AnySchema(definitions)
		if err != nil {
			return nil, err
		}
		all = append(all, taskType{name, schema})
	}
	return all, nil
}

// cancel is DELETE /tasks/{id}: 200 with the task, 409 if it has ended.
func (m *manageRoutes) cancel(ctx *fasthttp.RequestCtx) error {
	return changed(ctx)(m.store.Cancel(ctx, server.Param(ctx, "id")))
}

// retry is POST /tasks/{id}/retry: 200 with the task, 409 if it has not failed.
func (m *manageRoutes) retry(ctx *fasthttp.RequestCtx) error {
	return changed(ctx)(m.store.Requeue(ctx, server.Param(ctx, "id")))
}

// changed returns a function that responds with the task, or with the reason why it was
// not changed.
func changed(ctx *fasthttp.RequestCtx) func(*jobs.Task, error) error {
	return func(t *jobs.Task, err error) error {
		if err != nil {
			return stateError(err)
		}
		return server.WriteJSON(ctx, fasthttp.StatusOK, t)
	}
}

// stateError converts a jobs.StateError to a 409 response.
func stateError(err error) error {
	if state, ok := errors.AsType[driver.StateError](err); ok {
		return server.Fail(fasthttp.StatusConflict, state.Error())
	}
	return err
}
