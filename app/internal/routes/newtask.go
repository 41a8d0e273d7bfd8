package routes

import (
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/internal/utf8text"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/server"
)

// newTask is a task in the body of POST /tasks.
type newTask struct {
	jobs.NewTask
	Immutable bool // in a workflow: the task gets no results of other tasks
}

// newWork is the body of POST /tasks: a task, a chain or a group.
type newWork struct {
	newTask
	Chain    []newTask
	Group    []newTask
	Callback *newTask // with a group: the callback of a chord
}

// Allowed keys of the body and its parts.
var (
	taskKeys = []string{
		"task", "args", "kwargs", "queue", "eta", "countdown", "expires", "timeout", "max_retries", "id", "unique", "unique_for", "wait_for_worker",
	}
	memberKeys = append(slices.Clone(taskKeys), "immutable")
	flowKeys   = []string{"id", "chain", "group", "callback"}
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
	"link":            "use chain",
	"link_error":      "GET /workflows/{id} shows which tasks failed",
	"tasks":           "use chain or group",
	"header":          "use group",
	"body":            "use callback",
	"chord":           "use group with callback",
	"group_id":        "use id",
	"rate_limit":      "set the rate in the task's definition",
	"headers":         "use args or kwargs",
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
		if o.has("immutable") {
			o.fault("immutable", "is only valid for tasks in a chain and for a callback")
		}
		w.newTask = decodeTask(o)
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
	members := func(key string, limit int) []newTask {
		list := o.objects(key, limit)
		if list == nil {
			return nil
		}
		all := make([]newTask, len(list))
		for i, each := range list {
			each.only(memberKeys, celeryKeys)
			if key == "group" && each.has("immutable") {
				each.fault("immutable", "is only valid for the callback")
			}
			all[i] = decodeTask(each)
		}
		return all
	}
	w.Chain, w.Group = members("chain", jobs.MaxChain), members("group", jobs.MaxMembers)
	if o.is("callback", kindObject) {
		c := &object{place: "callback.", wrong: o.wrong}
		c.read(o.values["callback"])
		c.only(memberKeys, celeryKeys)
		callback := decodeTask(c)
		w.Callback = &callback
	}
}

// decodeTask decodes the options of a task.
func decodeTask(o *object) (n newTask) {
	n.ID, n.Queue, n.Unique, n.Immutable = o.text("id"), o.text("queue"), o.text("unique"), o.boolean("immutable")
	n.WaitForWorker = o.boolean("wait_for_worker")
	if n.Name = o.text("task"); !o.has("task") {
		o.fault("task", "is missing")
	}
	if o.is("args", kindArray) {
		n.Args = o.values["args"]
	}
	if o.is("kwargs", kindObject) {
		n.Kwargs = o.values["kwargs"]
	}
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
	n.when(o)
	return n
}

// when decodes eta, countdown and expires.
func (n *newTask) when(o *object) {
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
