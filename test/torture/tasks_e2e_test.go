//go:build e2e

package torture_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"
)

// spec returns the behaviour of a task.
func (c *client) spec() spec {
	s := spec{Queue: queues[c.rng.IntN(len(queues))], MS: c.rng.IntN(40)}
	switch c.rng.IntN(12) {
	case 0, 1: // succeeds in the end
		s.Retries = 1 + c.rng.IntN(3)
		s.Fails = 1 + c.rng.IntN(s.Retries)
	case 2:
		s.Retries = c.rng.IntN(2)
		s.Fails = s.Retries + 1
	case 3:
		s.MS = 300 + c.rng.IntN(1200)
	}
	if s.Remote = c.rng.IntN(4) == 0; s.Remote && c.rng.IntN(20) == 0 {
		s.MS = 2000 + c.rng.IntN(4000) // its lease is extended
	}
	s.Crash = c.rng.IntN(crashEvery) == 0 && !s.Remote
	return s
}

// object is a JSON object.
type object map[string]any

func taskObject(id, tag string, s spec) object {
	if s.Crash {
		return object{"task": "crash", "id": id, "args": []any{tag}, "queue": s.Queue}
	}
	name := "work"
	if s.Remote {
		name = remoteTask
	}
	return object{"task": name, "id": id, "args": []any{tag, s.MS, s.Fails}, "queue": s.Queue, "max_retries": s.Retries}
}

// record returns a function for history.end that sets the status, and the task of the body.
func record(r response) func(*op) {
	return func(o *op) {
		o.Status = r.status
		var t task
		if r.status >= 300 || json.Unmarshal(r.body, &t) != nil {
			return
		}
		o.Got, o.Tag, o.N = t.State, t.tag(), int64(t.Attempts)
	}
}

func (c *client) enqueue(id string, s spec) {
	if c.rng.IntN(6) > 0 || len(c.own) == 0 {
		c.own = append(c.own, id)
	} else {
		id = c.own[len(c.own)-1] // once more, with another content
	}
	tag := fmt.Sprintf("%d/%d", c.number, c.step)
	if c.rng.IntN(16) == 0 {
		s.Queue = idle
	}
	body := taskObject(id, tag, s)
	if c.rng.IntN(8) == 0 {
		body["countdown"] = float64(c.rng.IntN(2000)) / 1000
	}
	seq := c.h.begin(op{Client: c.number, Kind: kindEnqueue, ID: id, Content: tag, Task: &s})
	c.h.end(seq, record(c.do(http.MethodPost, "/tasks", "application/json", encode(body))))
}

func (c *client) taskRequest(kind, method, id, suffix string) {
	seq := c.h.begin(op{Client: c.number, Kind: kind, ID: id})
	c.h.end(seq, record(c.do(method, "/tasks/"+id+suffix, "", nil)))
}

// many cancels, retries or purges several tasks, or purges the queue that no worker serves.
func (c *client) many() {
	kind := []string{kindCancelAll, kindRetryAll, kindPurge}[c.rng.IntN(3)]
	if kind == kindPurge && c.rng.IntN(3) == 0 {
		c.purgeIdle()
		return
	}
	var ids []string
	for range 1 + c.rng.IntN(6) {
		ids = append(ids, c.anyTask())
	}
	slices.Sort(ids)
	c.changeMany(op{Kind: kind, IDs: slices.Compact(ids)})
}

// purgeIdle purges the queue that no worker serves, and reports whether the request succeeded.
func (c *client) purgeIdle() bool { return c.changeMany(op{Kind: kindPurge}) }

func (c *client) changeMany(o op) bool {
	path := map[string]string{kindCancelAll: "/tasks/cancel", kindRetryAll: "/tasks/retry", kindPurge: "/tasks/purge"}[o.Kind]
	body := object{"ids": o.IDs}
	if o.IDs == nil {
		body = object{"queue": idle}
	}
	o.Client = c.number
	seq := c.h.begin(o)
	r := c.do(http.MethodPost, path, "application/json", encode(body))
	c.h.end(seq, func(o *op) {
		var n struct{ Count int64 }
		if o.Status = r.status; r.status == http.StatusOK && json.Unmarshal(r.body, &n) == nil {
			o.N = n.Count
		}
	})
	return r.status == http.StatusOK
}

// unique posts a task with a unique key that other clients use at about the same time, often
// twice. Some keys expire, and all clients use them again and again.
func (c *client) unique() {
	kind, key, period := kindUnique, c.hot("k"), 24*time.Hour
	if c.rng.IntN(2) == 0 {
		kind, key, period = kindExpiring, fmt.Sprint("expiring-", c.rng.IntN(3)), keyTime
	}
	s := c.spec()
	id, tag := c.name("u"), fmt.Sprintf("%d/%d", c.number, c.step)
	body := taskObject(id, tag, s)
	body["unique"], body["unique_for"] = key, period.String()
	for range 1 + c.rng.IntN(2) {
		seq := c.h.begin(op{Client: c.number, Kind: kind, ID: fmt.Sprint(body["task"], "/", key), Content: id, Task: &s})
		r := c.do(http.MethodPost, "/tasks", "application/json", encode(body))
		c.h.end(seq, func(o *op) {
			var t task
			if o.Status = r.status; r.status < 300 && json.Unmarshal(r.body, &t) == nil {
				o.Got = t.ID
			}
		})
	}
}

func (c *client) chain() {
	id := c.name("chain")
	var tasks []object
	var members []member
	for i := range 2 + c.rng.IntN(3) {
		m := member{ID: fmt.Sprint(id, ".", i), Tag: fmt.Sprint(c.step, ".", i), Task: c.spec()}
		if i == 0 {
			m.ID = id
		}
		members = append(members, m)
		tasks = append(tasks, taskObject(m.ID, m.Tag, m.Task))
	}
	c.workflow(kindChain, id, object{"chain": tasks}, members)
}

func (c *client) chord() {
	id := c.name("chord")
	var tasks []object
	var members []member
	for i := range 1 + c.rng.IntN(6) {
		m := member{ID: fmt.Sprint(id, ".", i), Tag: fmt.Sprint(c.step, ".", i), Task: c.spec()}
		if c.rng.IntN(4) > 0 {
			m.Task.Fails = min(m.Task.Fails, m.Task.Retries)
		}
		members = append(members, m)
		tasks = append(tasks, taskObject(m.ID, m.Tag, m.Task))
	}
	last := member{ID: id + ".all", Tag: "all", Task: spec{Queue: queues[0]}}
	callback := object{"task": "collect", "id": last.ID, "args": []any{last.Tag}, "queue": last.Task.Queue}
	c.workflow(kindChord, id, object{"id": id, "group": tasks, "callback": callback}, append(members, last))
}

// workflow posts a workflow, often twice.
func (c *client) workflow(kind, id string, body object, members []member) {
	c.flows = append(c.flows, id)
	for range 1 + c.rng.IntN(2) {
		seq := c.h.begin(op{Client: c.number, Kind: kind, ID: id, Members: members})
		c.h.end(seq, status(c.do(http.MethodPost, "/tasks", "application/json", encode(body))))
	}
}

// abort cancels one of the newest workflows.
func (c *client) abort() {
	if len(c.flows) == 0 {
		return
	}
	id := c.flows[len(c.flows)-1]
	seq := c.h.begin(op{Client: c.number, Kind: kindAbort, ID: id})
	c.h.end(seq, status(c.do(http.MethodDelete, "/workflows/"+id, "", nil)))
}
