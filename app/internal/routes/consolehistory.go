package routes

import (
	"errors"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/app/internal/console"
	"github.com/galeserver/gale/app/internal/openapi"
	"github.com/galeserver/gale/server"
)

// history is GET /console/history: the load of the last hour and the last day.
func (c *consoleRoutes) history(ctx *fasthttp.RequestCtx) error {
	text, err := c.console.History(ctx)
	switch {
	case errors.Is(err, console.ErrAdminOff):
		return server.Fail(fasthttp.StatusNotFound, console.ErrAdminOff.Error())
	case err != nil:
		c.log.Debug("console: cannot read the history", "error", err)
		return &server.Error{Status: fasthttp.StatusServiceUnavailable, Reason: console.ErrAdminAway.Error(), RetryAfter: time.Second}
	}
	ctx.Response.Header.Set(fasthttp.HeaderCacheControl, "no-store")
	ctx.SetContentType("application/json")
	ctx.Response.SetBodyRaw(text)
	return nil
}

// describeHistory describes GET /console/history.
func describeHistory() openapi.Operation {
	numbers := &openapi.Schema{Type: "array", Items: &openapi.Schema{Type: []string{"number", "null"}}}
	integer := &openapi.Schema{Type: "integer"}
	series := &openapi.Schema{Type: "object", Required: []string{"step", "from", "values"}, Properties: map[string]*openapi.Schema{
		"step": integer, "from": integer, "values": {Type: "object", AdditionalProperties: numbers},
	}}
	return openapi.Operation{
		ID: "getHistory", Access: openapi.Read, Summary: "Get the load of the last hour and the last day",
		Description: "The series hour has a point for ten seconds, day one for five minutes. Values are rates per second, latencies in seconds, and tasks_waiting is a number of tasks. An unknown value is null.",
		Responses: map[string]*openapi.Response{"200": openapi.JSON("The two series.", &openapi.Schema{
			Type: "object", Required: []string{"series"}, Properties: map[string]*openapi.Schema{"series": {
				Type: "object", Required: []string{"hour", "day"}, Properties: map[string]*openapi.Schema{"hour": series, "day": series},
			}},
		}).With(map[string]string{"Cache-Control": "no-store."})},
		Problems: []int{404, 503},
	}
}
