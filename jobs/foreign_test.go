package jobs_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"github.com/galeserver/gale/jobs"
)

// announced has one definition of each task.
type announced map[string]jobs.Definition

func (a announced) Announced(_ context.Context, name string, _ bool) ([]jobs.Definition, error) {
	if d, ok := a[name]; ok {
		return []jobs.Definition{d}, nil
	}
	return nil, nil
}

// Arguments by position and by name, in both forms of schemas.
func TestForeign(t *testing.T) {
	schemas := map[string]string{
		"array":  `{"type":"array","prefixItems":[{"title":"x","type":"integer"},{"title":"y","type":"integer","default":1},{"title":"z"}],"items":false,"minItems":1,"maxItems":3}`,
		"more":   `{"type":"array","prefixItems":[{"title":"x"}],"properties":{"key":{"type":"string"}},"required":["key"],"additionalProperties":true}`,
		"object": `{"type":"object","properties":{"x":{"type":"integer"},"y":{"type":"integer"}},"required":["x"],"additionalProperties":false}`,
		"any":    ``,
	}
	all := announced{}
	for name, schema := range schemas {
		d, err := jobs.Foreign(jobs.Definition{Name: name}, json.RawMessage(schema))
		if err != nil {
			t.Fatal(err)
		}
		all[name] = d
	}
	tasks, err := jobs.NewRegistry()
	if err != nil {
		t.Fatal(err)
	}
	client := &jobs.Client{Tasks: tasks, Announced: all}
	for _, row := range []struct {
		name, args, kwargs string
		ok                 bool
	}{
		{"array", `[1]`, ``, true},
		{"array", `[1,2,"any"]`, ``, true},
		{"array", `[]`, `{"x":1}`, true},
		{"array", `[1]`, `{"z":3}`, true},
		{"array", `[]`, ``, false},
		{"array", `[1,2,3,4]`, ``, false},
		{"array", `["a"]`, ``, false},
		{"array", `[1]`, `{"x":1}`, false},
		{"array", `[1]`, `{"unknown":1}`, false},
		{"array", `[1]`, `{"y":"a"}`, false},
		{"more", `[1,2,3]`, `{"key":"a","other":1}`, true},
		{"more", `[1]`, ``, false},
		{"more", `[1]`, `{"key":1}`, false},
		{"object", `[1,2]`, ``, true},
		{"object", `[1]`, `{"y":2}`, true},
		{"object", `[1,2,3]`, ``, false},
		{"object", `[1]`, `{"x":2}`, false},
		{"object", ``, `{"y":2}`, false},
		{"any", `[{"a":1}]`, `{"b":2}`, true},
		{"any", `{}`, ``, false},
	} {
		n := jobs.NewTask{Name: row.name, Args: json.RawMessage(row.args), Kwargs: json.RawMessage(row.kwargs)}
		err := client.Complete(t.Context(), &n)
		if row.ok && err != nil || !row.ok && !errors.Is(err, jobs.ErrArgs) {
			t.Errorf("%s %s %s: %v", row.name, row.args, row.kwargs, err)
		}
		if row.ok && (string(n.Kwargs) != row.kwargs || string(n.Args) != row.args) {
			t.Errorf("%+v became %s %s", row, n.Args, n.Kwargs)
		}
	}
	if _, err := jobs.Foreign(jobs.Definition{Name: "x"}, json.RawMessage(`{"type":"text"}`)); !errors.Is(err, jobs.ErrOption) {
		t.Errorf("invalid schema: %v", err)
	}
}
