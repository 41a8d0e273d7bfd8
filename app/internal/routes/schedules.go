package routes

import (
	"encoding/json"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/app/internal/access"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/schedule"
	"github.com/galeserver/gale/server"
)

// nextTimes is the number of start times of a schedule in GET /schedules.
const nextTimes = 3

// scheduleRoutes are the routes of schedules.
type scheduleRoutes struct {
	client *jobs.Client
	all    []schedule.Periodic
	prefix string // path prefix of the routes of tasks
}

func (s *scheduleRoutes) routes(guard *access.Guard) []server.Route {
	return []server.Route{
		{Method: fasthttp.MethodGet, Path: "/schedules", Admit: guard.Read, Handler: s.list},
		{Method: fasthttp.MethodPost, Path: "/schedules/{name}/run", Admit: guard.Write, Handler: s.run},
	}
}

// scheduleEntry is a schedule in GET /schedules.
type scheduleEntry struct {
	Name     string          `json:"name"`
	Task     string          `json:"task"`
	Args     json.RawMessage `json:"args"`
	Schedule string          `json:"schedule"`
	Missed   string          `json:"missed"`
	Next     []time.Time     `json:"next"`
}

// list is GET /schedules.
func (s *scheduleRoutes) list(ctx *fasthttp.RequestCtx) error {
	all := make([]scheduleEntry, len(s.all))
	for i, p := range s.all {
		all[i] = entryOf(p, time.Now())
	}
	return server.WriteJSON(ctx, fasthttp.StatusOK, all)
}

func entryOf(p schedule.Periodic, now time.Time) scheduleEntry {
	e := scheduleEntry{
		Name: p.Task.Name, Task: p.Task.Name, Args: p.Task.Args,
		Schedule: p.Schedule.String(), Missed: p.Missed(), Next: p.Schedule.Upcoming(now, nextTimes),
	}
	if e.Args == nil {
		e.Args = json.RawMessage("[]")
	}
	return e
}

// run is POST /schedules/{name}/run: it enqueues the task of a schedule now, with a random id.
// The start times of the schedule stay as they are.
func (s *scheduleRoutes) run(ctx *fasthttp.RequestCtx) error {
	name := server.Param(ctx, "name")
	for _, p := range s.all {
		if p.Task.Name != name {
			continue
		}
		task, created, err := s.client.Enqueue(ctx, p.Task)
		if err != nil {
			return err
		}
		ctx.Response.Header.Set(fasthttp.HeaderLocation, server.Location(ctx, s.prefix+"/tasks/"+task.ID))
		return server.WriteJSON(ctx, acceptedStatus(created), task)
	}
	return server.Fail(fasthttp.StatusNotFound, "no such schedule")
}
