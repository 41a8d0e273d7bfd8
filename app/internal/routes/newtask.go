package routes

import (
	"cmp"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/internal/utf8text"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/server"
)

// newWork is the body of POST /tasks: a task, a chain or a group.
type newWork struct {
	jobs.Link
	Chain    []jobs.Link
	Group    []jobs.NewTask
	Callback *jobs.Link // with a group: the callback of a chord
}

// maxLinks is the largest number of tasks in link and in link_error, and maxLinkDepth the
// largest depth of links in links.
const (
	maxLinks     = 100
	maxLinkDepth = 100
)

// Allowed keys of the body and its parts.
var (
	taskKeys = []string{
		"task", "args", "kwargs", "queue", "eta", "countdown", "expires", "timeout", "max_retries", "id", "unique", "unique_for", "wait_for_worker", "headers", "link", "link_error",
	}
	memberKeys = append(slices.Clone(taskKeys), "immutable", "results")
	groupKeys  = []string{"group", "id", "immutable", "results"} // of a group in a chain
	flowKeys   = []string{"id", "chain", "group", "callback", "results"}
	bodyKeys   = append(slices.Clone(memberKeys), "chain", "group", "callback")
)

// celeryKeys are options of Celery with a hint to the option to use instead.
var celeryKeys = map[string]string{
	"name":            "use task",
	"task_id":         "use id",
	"retries":         "use max_retries",
	"retry_policy":    "use max_retries",
	"delay":           "use countdown",
	"time_limit":      "use timeout",
	"soft_time_limit": "use timeout, the only limit",
	"routing_key":     "use queue",
	"exchange":        "use queue",
	"priority":        "use queue: workers serve queues in order of priority or by weights",
	"tasks":           "use chain or group",
	"header":          "use group",
	"body":            "use callback",
	"chord":           "use group with callback",
	"group_id":        "use id",
	"rate_limit":      "set the rate in the task's definition",
	"ignore_result":   "the result has the retention of the task",
	"serializer":      "args are JSON",
	"compression":     "args are JSON",
}

// post is POST /tasks. It responds with 202 once the task or workflow is durable, and with
// 200 if it already existed.
func (t *taskRoutes) post(ctx *fasthttp.RequestCtx) error {
	body, err := server.ReadJSON(ctx)
	if err != nil {
		return err
	}
	w, err := decodeWork(body)
	if err != nil {
		return server.Fail(fasthttp.StatusBadRequest, err.Error())
	}
	if w.Name == "" {
		return t.postWorkflow(ctx, w)
	}
	task, created, err := t.client.Enqueue(ctx, w.NewTask)
	if err != nil {
		return err
	}
	ctx.Response.Header.Set(fasthttp.HeaderLocation, server.Location(ctx, t.prefix+"/tasks/"+task.ID))
	return server.WriteJSON(ctx, acceptedStatus(created), task)
}

// acceptedStatus returns the status for a task that was created, or that already existed.
func acceptedStatus(created bool) int {
	if created {
		return fasthttp.StatusAccepted
	}
	return fasthttp.StatusOK
}

// decodeWork decodes the body. Unknown keys are errors, so that a misspelt option is not
// ignored. The error names everything that is wrong.
func decodeWork(body []byte) (w newWork, err error) {
	o, err := readBody(body)
	if err != nil {
		return w, err
	}
	o.only(bodyKeys, celeryKeys)
	kinds := 0
	for _, kind := range []string{"task", "chain", "group"} {
		if o.has(kind) {
			kinds++
		}
	}
	switch {
	case kinds == 0 && len(o.wrong.all) == 0:
		return w, errors.New(`body: "task" is missing; or give "chain", or "group" with or without "callback"`)
	case kinds > 1:
		return w, errors.New(`body: give one of "task", "chain" and "group"`)
	case o.has("callback") && !o.has("group"):
		return w, errors.New(`body: "callback" belongs to a "group"`)
	case kinds == 1 && !o.has("task"):
		w.flow(o)
	default:
		for _, key := range []string{"immutable", "results"} {
			if o.has(key) {
				o.fault(key, "is only valid for tasks in a chain, for a callback and for links")
			}
		}
		w.Link = decodeTask(o, 0)
	}
	return w, o.wrong.err()
}

// flow decodes the tasks of a workflow.
func (w *newWork) flow(o *object) {
	for _, key := range o.keys {
		if o.has(key) && slices.Contains(bodyKeys, key) && !slices.Contains(flowKeys, key) {
			o.fault(key, "is an option of the tasks; a workflow itself has only an id")
		}
	}
	w.ID = o.text("id")
	results := decodeResults(o)
	for i, each := range o.objects("chain", jobs.MaxChain) {
		var l jobs.Link
		if each.has("group") {
			l = decodeGroup(each)
		} else {
			each.only(memberKeys, celeryKeys)
			l = decodeTask(each, 0)
		}
		if i > 0 && !l.Immutable {
			l.Results = cmp.Or(l.Results, results)
		}
		w.Chain = append(w.Chain, l)
	}
	if o.is("chain", kindArray) && w.Chain == nil {
		w.Chain = []jobs.Link{}
	}
	if o.is("group", kindArray) {
		w.Group = decodeMembers(o)
	}
	if o.is("callback", kindObject) {
		c := &object{place: "callback.", wrong: o.wrong}
		c.read(o.values["callback"])
		c.only(memberKeys, celeryKeys)
		callback := decodeTask(c, 0)
		if !callback.Immutable {
			callback.Results = cmp.Or(callback.Results, results)
		}
		w.Callback = &callback
	}
}

// decodeMembers decodes the members of a group.
func decodeMembers(o *object) []jobs.NewTask {
	all := []jobs.NewTask{}
	for _, each := range o.objects("group", jobs.MaxMembers) {
		each.only(memberKeys, celeryKeys)
		for _, key := range []string{"immutable", "results"} {
			if each.has(key) {
				each.fault(key, "is only valid for the callback, or beside the group in a chain")
			}
		}
		all = append(all, decodeTask(each, 0).NewTask)
	}
	return all
}

// decodeGroup decodes an element of a chain that is a group.
func decodeGroup(o *object) jobs.Link {
	if o.has("callback") {
		o.fault("callback", "is not valid in a chain: the next element gets the results of the group")
	} else {
		o.only(groupKeys, celeryKeys)
	}
	g := &jobs.NewGroup{ID: o.text("id")}
	if o.is("group", kindArray) {
		g.Members = decodeMembers(o)
	}
	return jobs.Link{Group: g, Immutable: o.boolean("immutable"), Results: decodeResults(o)}
}

// decodeResults decodes the key results.
func decodeResults(o *object) jobs.Results {
	r := jobs.Results(o.text("results"))
	if r.Check() != nil {
		o.fault("results", "%q must be append, prepend or list", utf8text.Cut(string(r), shownValue))
	}
	return r
}

// decodeLinks decodes the key link or link_error of a task at a depth of links.
func decodeLinks(o *object, key string, depth int) (all []jobs.Link) {
	if !o.has(key) {
		return nil
	}
	if depth == maxLinkDepth {
		o.fault(key, "is too deep; links have at most %d levels", maxLinkDepth)
		return nil
	}
	for _, each := range o.objects(key, maxLinks) {
		each.only(memberKeys, celeryKeys)
		if key == "link_error" && each.has("results") {
			each.fault("results", "is not valid in link_error: the task gets the error, unless it is immutable")
		}
		all = append(all, decodeTask(each, depth+1))
	}
	return all
}

// decodeTask decodes the options of a task at a depth of links.
func decodeTask(o *object, depth int) (n jobs.Link) {
	n.ID, n.Queue, n.Unique, n.Immutable = o.text("id"), o.text("queue"), o.text("unique"), o.boolean("immutable")
	n.WaitForWorker = o.boolean("wait_for_worker")
	n.Results = decodeResults(o)
	if n.Name = o.text("task"); !o.has("task") {
		o.fault("task", "is missing")
	}
	if o.is("args", kindArray) {
		n.Args = o.values["args"]
	}
	if o.is("kwargs", kindObject) {
		n.Kwargs = o.values["kwargs"]
	}
	if o.is("headers", kindObject) {
		if n.Headers = o.values["headers"]; len(n.Headers) > jobs.MaxHeaders {
			o.fault("headers", "has %d bytes, more than the limit of %d", len(n.Headers), jobs.MaxHeaders)
		}
	}
	n.Link, n.LinkError = decodeLinks(o, "link", depth), decodeLinks(o, "link_error", depth)
	if n.Queue != "" && !jobs.ValidID(n.Queue) {
		o.fault("queue", "%q must consist of letters, digits, dots, underscores and hyphens", utf8text.Cut(n.Queue, shownValue))
	}
	if retries, given := o.whole("max_retries", jobs.MaxRetries); given {
		if n.MaxRetries = retries; retries == 0 {
			n.MaxRetries = jobs.NoRetries
		}
	}
	if timeout, given := o.span("timeout"); given {
		if n.Timeout = timeout; timeout == 0 {
			n.Timeout = jobs.NoTimeout
		}
	}
	if period, given := o.span("unique_for"); given {
		if n.UniqueFor = period; period < time.Millisecond || period > jobs.MaxUniqueFor {
			o.fault("unique_for", "%v is not between 1ms and %v", period, jobs.MaxUniqueFor)
		}
	}
	if o.has("unique") != o.has("unique_for") {
		o.fault("unique", "unique and unique_for belong together")
	}
	decodeTimes(o, &n.NewTask)
	return n
}

// decodeTimes decodes eta, countdown and expires.
func decodeTimes(o *object, n *jobs.NewTask) {
	eta, timed := o.moment("eta", "; or countdown, in seconds")
	countdown, counted := o.span("countdown")
	switch {
	case timed && counted:
		o.fault("countdown", "give either eta or countdown")
	case timed:
		n.RunAt = eta
	case counted:
		n.RunAt = time.Now().Add(countdown)
	}
	if !o.has("expires") {
		return
	}
	var text string
	if json.Unmarshal(o.values["expires"], &text) == nil {
		if _, err := time.ParseDuration(text); err != nil {
			n.Expires, _ = o.moment("expires", "; or the time from now: a number of seconds, or a duration, such as \"90s\"")
			return
		}
	}
	if within, given := o.span("expires"); given {
		n.Expires = time.Now().Add(within)
	}
}
