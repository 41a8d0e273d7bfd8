package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/galeserver/gale/jobs"
)

// Arguments that are too long for execve are refused when the task is enqueued; the
// longest possible argument is accepted.
func TestArgumentsThatFit(t *testing.T) {
	specs, faults := parseTasks(`
		[tasks.say]
		argv = ["echo", "{0}"]
		[tasks.pre]
		argv = ["echo", "pre{0}"]
		[tasks.many]
		argv = ["echo"`+strings.Repeat(`, "{0}"`, 100)+"]", noVariables)
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	var defs []jobs.Definition
	for _, s := range specs {
		defs = append(defs, Task(s, Env{}))
	}
	tasks, err := jobs.NewRegistry(defs...)
	if err != nil {
		t.Fatal(err)
	}
	accepted := errors.New("accepted")
	client := &jobs.Client{Tasks: tasks, Store: refusing{err: accepted}}
	text := func(n int) string { return strings.Repeat("a", n) }
	for name, row := range map[string]struct {
		task, text string
		want       string // empty: accepted
	}{
		"the largest":   {"say", text(131_071), ""},
		"one more":      {"say", text(131_072), "argument 1 of say, arg0, is 131072 bytes long, more than the limit of 131071"},
		"much":          {"say", text(200_000), "argument 1 of say, arg0, is 200000 bytes long"},
		"with the rest": {"pre", text(131_071), "one element is 131074 bytes long"},
		"together":      {"many", text(130_000), "all elements together are 13"},
		"zero byte":     {"say", "a\x00b", "argument 1 of say, arg0, contains a zero byte"},
	} {
		args, err := json.Marshal([]string{row.text})
		if err != nil {
			t.Fatal(err)
		}
		own := jobs.NewTask{Name: row.task, Args: args}
		_, _, err = client.Enqueue(t.Context(), own)
		if row.want == "" && !errors.Is(err, accepted) || row.want != "" && (!errors.Is(err, jobs.ErrArgs) || !strings.Contains(err.Error(), row.want)) {
			t.Errorf("%s: %.200v, want %q", name, err, row.want)
		}
	}
	// In a chain, the second task gets the first one's result as an additional argument.
	tasks, err = jobs.NewRegistry(append(defs, Task(Spec{Name: "two", Argv: []string{"echo", "{0}", "{1}"}}, Env{}))...)
	if err != nil {
		t.Fatal(err)
	}
	client.Tasks = tasks
	chain := []jobs.Link{
		{NewTask: jobs.NewTask{Name: "say", Args: json.RawMessage(`["a"]`)}},
		{NewTask: jobs.NewTask{Name: "two", Args: fmt.Appendf(nil, "[%q]", text(200_000))}},
	}
	if _, _, err := client.EnqueueChain(t.Context(), chain); !errors.Is(err, jobs.ErrArgs) || !strings.Contains(err.Error(), "chain[1]: wrong arguments: argument 1 of two, arg0, is 200000") {
		t.Errorf("%.200v", err)
	}
}

// refusing is a store whose methods return err.
type refusing struct {
	jobs.Store
	err error
}

func (r refusing) Enqueue(context.Context, jobs.NewTask) (*jobs.Task, bool, error) {
	return nil, false, r.err
}
func (r refusing) EnqueueGroup(context.Context, jobs.NewGroup) (bool, error) { return false, r.err }
