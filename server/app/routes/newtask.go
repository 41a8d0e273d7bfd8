package routes

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"gale/jobs"
	"gale/server"
)

// newTask is a task in the body of POST /tasks.
type newTask struct {
	Task       string          `json:"task"`
	Args       json.RawMessage `json:"args"`
	Queue      string          `json:"queue"`
	ETA        time.Time       `json:"eta"`
	Countdown  string          `json:"countdown"` // the same as a Go duration from now
	Expires    string          `json:"expires"`   // RFC 3339, or a Go duration from now
	Timeout    string          `json:"timeout"`
	MaxRetries int             `json:"max_retries"`
	ID         string          `json:"id"`
	Unique     string          `json:"unique"`
	UniqueFor  string          `json:"unique_for"`
	Immutable  bool            `json:"immutable"` // in a workflow: takes no results
}

// newWork is the body of POST /tasks: a task, or one of the workflows.
type newWork struct {
	newTask
	Chain    []newTask `json:"chain"`
	Group    []newTask `json:"group"`
	Callback *newTask  `json:"callback"` // makes a chord of the group
}

// post is POST /tasks: 202 once the task, or the workflow, is durable.
func (t *taskRoutes) post(ctx *fasthttp.RequestCtx) error {
	body, err := server.ReadJSON(ctx)
	if err != nil {
		return err
	}
	w, err := decodeWork(body)
	if err != nil {
		return server.Fail(fasthttp.StatusBadRequest, err.Error())
	}
	if w.Task == "" {
		return t.postWorkflow(ctx, w)
	}
	n, err := w.decode()
	if err != nil {
		return server.Fail(fasthttp.StatusBadRequest, "body: "+err.Error())
	}
	task, _, err := t.client.Enqueue(ctx, n)
	if err != nil {
		return taskError(err)
	}
	ctx.Response.Header.Set(fasthttp.HeaderLocation, server.Location(ctx, "/tasks/"+task.ID))
	return server.WriteJSON(ctx, fasthttp.StatusAccepted, task)
}

// decodeWork reads one JSON object and nothing behind it. What it does not know
// it refuses: a misspelt option would be lost in silence.
func decodeWork(body []byte) (w newWork, err error) {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&w); err != nil {
		return w, fmt.Errorf("body: %s", strings.TrimPrefix(err.Error(), "json: "))
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return w, errors.New("body: one JSON object is wanted, and nothing behind it")
	}
	kinds := 0
	for _, is := range []bool{w.Task != "", w.Chain != nil, w.Group != nil} {
		if is {
			kinds++
		}
	}
	switch {
	case kinds == 0:
		return w, errors.New(`body: "task" is missing; or give "chain", or "group" with or without "callback"`)
	case kinds > 1:
		return w, errors.New(`body: give one of "task", "chain" and "group"`)
	case w.Callback != nil && w.Group == nil:
		return w, errors.New(`body: "callback" belongs to a "group"`)
	case w.Task != "" && w.Immutable:
		return w, errors.New(`body: "immutable" is for tasks in a chain, and for a callback`)
	}
	return w, nil
}

// decode reads the options of a task; the error names all that are wrong.
func (b newTask) decode() (jobs.NewTask, error) {
	var wrong []string
	span := func(name, text string) time.Duration {
		if text == "" {
			return 0
		}
		d, err := time.ParseDuration(text)
		if err != nil || d <= 0 {
			wrong = append(wrong, fmt.Sprintf("%q %q is no duration, such as 90s", name, text))
		}
		return d
	}
	if b.Task == "" {
		wrong = append(wrong, `"task" is missing`)
	}
	n := jobs.NewTask{
		ID: b.ID, Name: b.Task, Queue: b.Queue, Args: b.Args, RunAt: b.ETA, MaxRetries: b.MaxRetries,
		Timeout: span("timeout", b.Timeout), Unique: b.Unique, UniqueFor: span("unique_for", b.UniqueFor),
	}
	if string(b.Args) == "null" {
		n.Args = nil
	}
	if d := span("countdown", b.Countdown); d > 0 {
		if !b.ETA.IsZero() {
			wrong = append(wrong, `give one of "eta" and "countdown"`)
		}
		n.RunAt = time.Now().Add(d)
	}
	if b.Expires != "" {
		d, err := time.ParseDuration(b.Expires)
		n.Expires = time.Now().Add(d)
		if err != nil {
			n.Expires, err = time.Parse(time.RFC3339, b.Expires)
		}
		if err != nil {
			wrong = append(wrong, fmt.Sprintf(`"expires" %q is neither a time, such as 2030-01-01T00:00:00Z, nor a duration, such as 90s`, b.Expires))
		}
	}
	if len(wrong) > 0 {
		return n, errors.New(strings.Join(wrong, "; "))
	}
	return n, nil
}
