package machinery_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/RichardKnop/machinery/v2/tasks"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/machinery"
)

// given is a task that accepts all arguments, by position and by name, and returns them.
var given = jobs.Definition{
	Name: "given", Keywords: true,
	Handler: func(_ context.Context, job *jobs.Job) error {
		all := make([]json.RawMessage, job.Len())
		targets := make([]any, len(all))
		for i := range all {
			targets[i] = &all[i]
		}
		if err := job.Args(targets...); err != nil {
			return err
		}
		return job.Return(map[string]any{"args": all, "kwargs": job.Kwargs, "headers": job.Headers})
	},
}

// broken is a task that fails with the text of its argument.
var broken = jobs.Definition{
	Name: "broken", Args: []jobs.Arg{{Name: "why", Type: jobs.ArgString}},
	Handler: func(_ context.Context, job *jobs.Job) error {
		var why string
		return errors.Join(job.Args(&why), errors.New(why))
	},
}

// follower returns a link to a task with an id and arguments.
func follower(id, name, args string) jobs.Link {
	l := link(name, args)
	l.ID = id
	return l
}

// received waits for the result of a task given.
func received(t *testing.T, f *fixture, id, want string) {
	t.Helper()
	testutil.Eventually(t, "task "+id, func() bool {
		_, err := f.store.Get(t.Context(), id)
		return err == nil
	})
	if got := f.await(t, id, final); string(got.Result) != want {
		t.Errorf("%s: %s %s %s, want %s", id, got.State, got.Result, got.Error, want)
	}
}

// Tasks in Link start after success and get the result as each of them says; those in
// LinkError start after a failure and get the error.
func TestLinks(t *testing.T) {
	f := newFixture(t, double, given, broken)
	f.work(t, machinery.Options{})

	after := func(id string, how jobs.Results, immutable bool) jobs.Link {
		l := follower(id, "given", `["own"]`)
		l.Results, l.Immutable, l.Kwargs, l.Headers = how, immutable, json.RawMessage(`{"k":9007199254740993}`), json.RawMessage(`{"h":[]}`)
		return l
	}
	nested := after("deep", jobs.ResultsPrepend, false)
	nested.Link = []jobs.Link{after("deeper", "", false)}
	n := jobs.NewTask{ID: "first", Name: "double", Args: json.RawMessage("[2]"), LinkError: []jobs.Link{after("never", "", false)}}
	n.Link = []jobs.Link{after("append", "", false), after("none", jobs.ResultsList, true), after("prepend", jobs.ResultsPrepend, false), after("list", jobs.ResultsList, false), nested}
	f.enqueue(t, n)
	rest := `,"headers":{"h":[]},"kwargs":{"k":9007199254740993}}`
	received(t, f, "append", `{"args":["own",4]`+rest)
	received(t, f, "none", `{"args":["own"]`+rest)
	received(t, f, "prepend", `{"args":[4,"own"]`+rest)
	received(t, f, "list", `{"args":[[4],"own"]`+rest)
	received(t, f, "deep", `{"args":[4,"own"]`+rest)
	received(t, f, "deeper", `{"args":["own",{"args":[4,"own"]`+rest+`]`+rest)
	if _, err := f.store.Get(t.Context(), "never"); !errors.Is(err, jobs.ErrNotFound) {
		t.Errorf("the error task of a success: %v", err)
	}
	if _, created, err := f.client.Enqueue(t.Context(), n); err != nil || created {
		t.Errorf("the same again: %v, %v", created, err)
	}
	n.Link[0].Args = json.RawMessage(`["other"]`)
	if _, _, err := f.client.Enqueue(t.Context(), n); !errors.Is(err, jobs.ErrTaken) {
		t.Errorf("another with the id: %v", err)
	}

	n = jobs.NewTask{ID: "fails", Name: "broken", Args: json.RawMessage(`["out of luck"]`), Link: []jobs.Link{follower("not-me", "double", "[]")}}
	n.LinkError = []jobs.Link{after("told", "", false), after("not-told", "", true)}
	f.enqueue(t, n)
	received(t, f, "told", `{"args":["out of luck","own"]`+rest)
	received(t, f, "not-told", `{"args":["own"]`+rest)
}

// A group may be an element of a chain, at the beginning, in the middle and at the end.
func TestGroupInChain(t *testing.T) {
	f := newFixture(t, double, given, broken)
	f.work(t, machinery.Options{})
	group := func(id string, how jobs.Results) jobs.Link {
		g := &jobs.NewGroup{ID: id, Members: []jobs.NewTask{
			{ID: id + "-1", Name: "given", Args: json.RawMessage("[1]"), Kwargs: json.RawMessage(`{"k":1}`)},
			{ID: id + "-2", Name: "double", Args: json.RawMessage("[]")},
		}}
		return jobs.Link{Group: g, Results: how}
	}
	sum := follower("sum", "given", "[7]")
	sum.Results = jobs.ResultsList
	chain := []jobs.Link{follower("a", "double", "[2]"), group("g", jobs.ResultsPrepend), sum, follower("z", "given", "[]"), group("end", "")}
	chain[4].Group.Members[1].Args, chain[4].Immutable = json.RawMessage("[5]"), true
	first, _, err := f.client.EnqueueChain(t.Context(), chain)
	if err != nil {
		t.Fatal(err)
	}
	one := `{"args":[4,1],"headers":null,"kwargs":{"k":1}}`
	received(t, f, "sum", `{"args":[[`+one+`,8],7],"headers":null,"kwargs":{}}`)
	received(t, f, "end-2", "10")
	received(t, f, "end-1", `{"args":[1],"headers":null,"kwargs":{"k":1}}`)
	if w := workflow(t, f, first.ID); w.State != jobs.StateSuccess || w.Progress != 100 || strings.Join(w.Tasks, " ") != "a g sum z end" {
		t.Errorf("the chain is %+v", w)
	}

	// At the beginning, the group is the workflow.
	start := group("start", "")
	start.Group.Members[1].Args = json.RawMessage("[3]")
	g, err := jobs.GroupOf([]jobs.Link{start, follower("join", "given", "[]"), group("mid", ""), follower("last", "given", "[]")})
	if err != nil {
		t.Fatal(err)
	}
	g.Callback.Link[0].Group.Members[1] = jobs.NewTask{ID: "mid-2", Name: "broken", Args: json.RawMessage("[]")}
	if _, _, err := f.client.EnqueueGroup(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	testutil.Eventually(t, "the last task", func() bool {
		_, err := f.store.Get(t.Context(), "last")
		return err == nil
	})
	failed := f.await(t, "last", final)
	if w := workflow(t, f, "start"); failed.State != jobs.StateFailed || w.State != jobs.StateFailed || w.FailedTask != "mid-2" {
		t.Errorf("a member of the second group failed: the last is %s, the workflow %+v", failed.State, w)
	}
}

func TestLinksAreRefused(t *testing.T) {
	f := newFixture(t, double, given)
	group := jobs.Link{Group: &jobs.NewGroup{Members: []jobs.NewTask{{Name: "given"}}}}
	late := follower("late", "given", "[]")
	late.RunAt = late.RunAt.AddDate(2000, 0, 0)
	odd := follower("odd", "given", "[]")
	odd.Results = "middle"
	both := group
	both.Name = "given"
	for name, n := range map[string]jobs.NewTask{
		"link[0]: invalid option: only the first task": {Link: []jobs.Link{late}},
		"use append, prepend or list":                  {Link: []jobs.Link{odd}},
		"link[0]: unknown task":                        {Link: []jobs.Link{follower("x", "nothing", "[]")}},
		"link[0]: wrong arguments":                     {Link: []jobs.Link{follower("x", "double", "[1]")}},
		"link_error[0]":                                {LinkError: []jobs.Link{group}},
		"either a task or a group":                     {Link: []jobs.Link{both}},
		`"x" is used twice`:                            {Link: []jobs.Link{follower("x", "given", "[]")}, LinkError: []jobs.Link{follower("x", "given", "[]")}},
		"headers are not a JSON object":                {Headers: json.RawMessage(`{"a":"` + strings.Repeat("x", jobs.MaxHeaders) + `"}`)},
		"either Signature or links":                    {Signature: []byte(`{}`), Link: []jobs.Link{follower("x", "given", "[]")}},
		"longer than":                                  {Link: []jobs.Link{follower("x", "given", `["`+strings.Repeat("x", 700_000)+`"]`), follower("y", "given", `["`+strings.Repeat("y", 700_000)+`"]`)}},
	} {
		n.ID, n.Name, n.Args = "first", "double", json.RawMessage("[1]")
		if _, _, err := f.client.Enqueue(t.Context(), n); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%v, want %q", err, name)
		}
	}
	for name, chain := range map[string][]jobs.Link{
		"chain[1]: invalid option: the element after a group": {follower("a", "double", "[1]"), group, group},
		"begins with a group": {group, follower("a", "given", "[]")},
	} {
		if _, _, err := f.client.EnqueueChain(t.Context(), chain); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%v, want %q", err, name)
		}
	}
	if _, err := jobs.GroupOf([]jobs.Link{group, group}); !errors.Is(err, jobs.ErrOption) {
		t.Errorf("a group after a group: %v", err)
	}
	if got, err := f.store.Get(t.Context(), "first"); !errors.Is(err, jobs.ErrNotFound) {
		t.Errorf("a refused task is stored: %+v, %v", got, err)
	}
}

// A workflow that older versions can run is stored as before. One that they cannot run is
// refused by them, because its only follower belongs to a group.
func TestMessagesForOlderVersions(t *testing.T) {
	f := newFixture(t, double, given)
	signature := func(n jobs.NewTask) *tasks.Signature {
		t.Helper()
		task := f.enqueue(t, n)
		s := new(tasks.Signature)
		if err := json.Unmarshal(task.Signature, s); err != nil {
			t.Fatal(err)
		}
		return s
	}
	old := signature(jobs.NewTask{Name: "double", Args: json.RawMessage("[1]"), Link: []jobs.Link{follower("b", "double", "[]")}})
	if len(old.OnSuccess) != 1 || old.OnSuccess[0].UUID != "b" || old.OnSuccess[0].Name != "double" || old.OnSuccess[0].GroupUUID != "" {
		t.Errorf("a workflow of positional arguments is %+v", old.OnSuccess)
	}
	named := follower("c", "given", "[]")
	named.Kwargs = json.RawMessage(`{"a":1}`)
	next := signature(jobs.NewTask{Name: "double", Args: json.RawMessage("[1]"), Link: []jobs.Link{named}})
	if len(next.OnSuccess) != 1 || next.OnSuccess[0].UUID != "c" || next.OnSuccess[0].GroupUUID == "" {
		t.Errorf("a workflow with arguments by name is %+v", next.OnSuccess)
	}
}
