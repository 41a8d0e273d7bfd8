package machinery_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/galeserver/gale/jobs"
)

// EnqueueAfter adds results of another system to the arguments and checks only the others.
func TestEnqueueAfter(t *testing.T) {
	f := newFixture(t, echo, double, given)
	results := []json.RawMessage{json.RawMessage(`{"a":1}`), nil}
	body := follower("body", "echo", "[]")
	body.Results = jobs.ResultsList
	body.Link = []jobs.Link{follower("next", "given", "[]")}
	task, created, err := f.client.EnqueueAfter(t.Context(), body, results)
	if err != nil || !created || string(task.Args) != `[[{"a":1},null]]` || len(task.Followers) != 1 {
		t.Errorf("%+v, %v, %v", task, created, err)
	}
	if _, created, err := f.client.EnqueueAfter(t.Context(), body, results); err != nil || created {
		t.Errorf("again: %v, %v", created, err)
	}
	alone := follower("alone", "double", "[4]")
	alone.Immutable = true
	if task, _, err := f.client.EnqueueAfter(t.Context(), alone, results); err != nil || string(task.Args) != "[4]" {
		t.Errorf("immutable: %+v, %v", task, err)
	}
	odd := follower("odd", "given", "[]")
	odd.Results = "middle"
	for name, l := range map[string]jobs.Link{
		"results": odd, "a group": {Group: &jobs.NewGroup{Members: []jobs.NewTask{{Name: "given"}}}},
	} {
		if _, _, err := f.client.EnqueueAfter(t.Context(), l, results); !errors.Is(err, jobs.ErrOption) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := f.client.EnqueueAfter(t.Context(), follower("many", "double", "[]"), results); !errors.Is(err, jobs.ErrArgs) {
		t.Errorf("too many results: %v", err)
	}
}
