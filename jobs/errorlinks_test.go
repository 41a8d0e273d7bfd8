package jobs_test

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/galeserver/gale/jobs"
)

// The tasks that a store enqueues after a dead letter belong to the trace of the dead task.
func TestErrorLinksHaveTrace(t *testing.T) {
	tasks, err := jobs.NewRegistry(jobs.Definition{Name: "t", Handler: func(context.Context, *jobs.Job) error { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	n := jobs.NewTask{Name: "t", Headers: json.RawMessage(`{"traceparent":"of the request","user":"u"}`), LinkError: []jobs.Link{
		{NewTask: jobs.NewTask{Name: "t"}, Immutable: true}, {NewTask: jobs.NewTask{Name: "t", Headers: json.RawMessage(`{"traceparent":"own"}`)}, Immutable: true},
	}}
	if err := (&jobs.Client{Tasks: tasks}).Complete(t.Context(), &n); err != nil {
		t.Fatal(err)
	}
	links := n.ErrorLinks()
	if len(links) != 2 || string(links[0].Headers) != `{"traceparent":"of the request"}` || string(links[1].Headers) != `{"traceparent":"own"}` {
		t.Errorf("%+v", links)
	}
}
