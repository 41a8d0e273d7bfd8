package app

import (
	"context"
	"testing"

	"github.com/galeserver/gale/jobs"
)

// Command-line arguments are encoded by the types of the task's arguments. A single
// object is the input of a typed task, and a string for any other task.
func TestEncodeArgs(t *testing.T) {
	type in struct {
		Name  string `json:"name"`
		Count int    `json:"count"`
	}
	object := jobs.Define("object", func(context.Context, *jobs.Job, in) (int, error) { return 0, nil }).Definition()
	positional := jobs.Definition{Name: "positional", Args: []jobs.Arg{{Name: "a", Type: jobs.ArgString}, {Name: "b", Type: jobs.ArgInteger}}}
	for _, c := range []struct {
		d     jobs.Definition
		words []string
		want  string
	}{
		{object, []string{"7", "7"}, `["7",7]`},
		{object, []string{`{"name":"a","count":2}`}, `[{"name":"a","count":2}]`},
		{object, []string{`{"name"`}, `["{\"name\""]`},
		{positional, []string{"7", "7"}, `["7",7]`},
		{positional, []string{`{}`, "x"}, `["{}","x"]`},
		{positional, nil, `[]`},
	} {
		if got, err := encodeArgs(c.d, c.words); err != nil || string(got) != c.want {
			t.Errorf("%s %q: %s, %v; want %s", c.d.Name, c.words, got, err, c.want)
		}
	}
}
