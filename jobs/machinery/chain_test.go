package machinery_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
	"github.com/galeserver/gale/jobs/machinery"
)

func link(name string, args string) jobs.Link {
	return jobs.Link{NewTask: jobs.NewTask{Name: name, Args: json.RawMessage(args)}}
}

func workflow(t *testing.T, f *fixture, id string) *jobs.Workflow {
	t.Helper()
	w, err := f.client.Workflow(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// A chain passes each result to the next task, keeps the options of its tasks, and reports
// its progress and the task that failed.
func TestEnqueueChain(t *testing.T) {
	limited := double
	limited.Name, limited.Queue, limited.Timeout = "limited", "media", time.Minute
	f := newFixture(t, double, limited, collect)
	last := link("collect", `[7]`)
	middle := link("limited", `[]`)
	middle.MaxRetries = 2
	own := link("double", `[5]`)
	own.Immutable, own.Timeout, own.Queue = true, time.Hour, "mine"
	first, created, err := f.client.EnqueueChain(t.Context(), []jobs.Link{link("double", `[1]`), middle, own, last})
	if err != nil || !created {
		t.Fatalf("EnqueueChain = %v, %v", created, err)
	}
	if w := workflow(t, f, first.ID); w.Kind != "chain" || w.State != jobs.StateQueued || w.Progress != 0 || len(w.Tasks) != 4 {
		t.Errorf("at first %+v", w)
	}
	stop := f.work(t, machinery.Options{})
	ids := workflow(t, f, first.ID).Tasks
	f.await(t, ids[0], in(jobs.StateSuccess))
	second := f.await(t, ids[1], in(jobs.StateQueued))
	if string(second.Args) != "[2]" || second.Queue != "media" || second.Timeout != time.Minute || second.MaxRetries != 2 {
		t.Errorf("the second task is %+v", second)
	}
	if w := workflow(t, f, first.ID); w.State != jobs.StateRunning || w.Progress != 25 || w.Succeeded != 1 || w.Finished != nil {
		t.Errorf("then %+v", w)
	}
	stop()
	f.work(t, machinery.Options{Queues: []string{"default", "media", "mine"}})
	for _, id := range ids { // each is enqueued when the one before it ends
		f.await(t, id, in(jobs.StateSuccess))
	}
	third := f.await(t, ids[2], in(jobs.StateSuccess))
	if string(third.Args) != "[5]" || third.Queue != "mine" || third.Timeout != time.Hour {
		t.Errorf("the third task is %+v", third)
	}
	if w := workflow(t, f, first.ID); w.State != jobs.StateSuccess || w.Progress != 100 || string(w.Result) != "[7,10]" || w.Finished == nil {
		t.Errorf("the ended chain is %+v", w)
	}

	broken, _, err := f.client.EnqueueChain(t.Context(), []jobs.Link{link("double", `[-1]`), link("double", `[]`)})
	if err != nil {
		t.Fatal(err)
	}
	f.await(t, broken.ID, final)
	if w := workflow(t, f, broken.ID); w.State != jobs.StateFailed || w.FailedTask != broken.ID || w.Error != "negative" || w.Failed != 1 || w.Finished == nil {
		t.Errorf("the failed chain is %+v", w)
	}
}

func TestChainIsRefusedWhole(t *testing.T) {
	f := newFixture(t, double, echo)
	timed, unique, immutable := link("double", `[]`), link("double", `[]`), link("double", `[1]`)
	timed.RunAt = time.Now().Add(time.Hour)
	unique.Unique, unique.UniqueFor = "k", time.Hour
	immutable.Immutable = true
	named := link("double", `[1]`)
	named.ID = "first"
	for name, c := range map[string]struct {
		chain []jobs.Link
		want  error
	}{
		"empty":             {nil, jobs.ErrOption},
		"too long":          {make([]jobs.Link, jobs.MaxChain+1), jobs.ErrOption},
		"unknown task":      {[]jobs.Link{named, link("nope", `[]`)}, jobs.ErrUnknownTask},
		"too many":          {[]jobs.Link{named, link("double", `[1]`)}, jobs.ErrArgs},
		"wrong type":        {[]jobs.Link{named, link("echo", `[1]`)}, jobs.ErrArgs},
		"no result to come": {[]jobs.Link{named, {NewTask: jobs.NewTask{Name: "double"}, Immutable: true}}, jobs.ErrArgs},
		"first immutable":   {[]jobs.Link{immutable}, jobs.ErrOption},
		"a later eta":       {[]jobs.Link{named, timed}, jobs.ErrOption},
		"a later key":       {[]jobs.Link{named, unique}, jobs.ErrOption},
		"first's arguments": {[]jobs.Link{{NewTask: jobs.NewTask{ID: "first", Name: "double"}}, link("double", `[]`)}, jobs.ErrArgs},
	} {
		t.Run(name, func(t *testing.T) {
			if _, created, err := f.client.EnqueueChain(t.Context(), c.chain); created || !errors.Is(err, c.want) {
				t.Errorf("EnqueueChain = %v, %v; want %v", created, err, c.want)
			}
		})
	}
	if _, err := f.store.Get(t.Context(), "first"); !errors.Is(err, jobs.ErrNotFound) {
		t.Errorf("the first task was accepted: %v", err)
	}
	if _, err := f.client.Workflow(t.Context(), "nobody"); !errors.Is(err, jobs.ErrNotFound) {
		t.Errorf("Workflow of an unknown id: %v", err)
	}
}

// A group without an id gets one, which Workflow accepts.
func TestEnqueueGroupID(t *testing.T) {
	f := newFixture(t, echo)
	id, created, err := f.client.EnqueueGroup(t.Context(), jobs.NewGroup{Members: []jobs.NewTask{{Name: "echo"}}})
	if err != nil || !created {
		t.Fatal(id, created, err)
	}
	if w := workflow(t, f, id); w.Kind != "group" || len(w.Tasks) != 1 {
		t.Errorf("%+v", w)
	}
}

// Groups and chords report their progress, the member that failed and the result of the
// callback.
func TestWorkflowOfGroups(t *testing.T) {
	f := newFixture(t, double, collect, echo)
	group := func(id string, callback *jobs.NewTask, numbers ...int) {
		g := jobs.NewGroup{ID: id, Callback: callback}
		for i, n := range numbers {
			g.Members = append(g.Members, jobs.NewTask{ID: fmt.Sprint(id, "-", i), Name: "double", Args: fmt.Appendf(nil, "[%d]", n)})
		}
		if _, _, err := f.client.EnqueueGroup(t.Context(), g); err != nil {
			t.Fatal(err)
		}
	}
	group("good", &jobs.NewTask{ID: "sum", Name: "collect"}, 1, 2, 3)
	if w := workflow(t, f, "good"); w.State != jobs.StateQueued || w.Kind != "chord" || w.Callback != "sum" || len(w.Tasks) != 3 {
		t.Errorf("at first %+v", w)
	}
	stop := f.work(t, machinery.Options{Concurrency: 1})
	f.await(t, "good-2", final)
	f.await(t, "sum", final)
	if w := workflow(t, f, "good"); w.State != jobs.StateSuccess || w.Progress != 100 || string(w.Result) != "[2,4,6]" || w.Succeeded != 3 || w.Finished == nil {
		t.Errorf("the successful chord is %+v", w)
	}
	group("bad", &jobs.NewTask{ID: "never", Name: "collect"}, 1, -1)
	f.await(t, "bad-1", final)
	if w := workflow(t, f, "bad"); w.State != jobs.StateFailed || w.FailedTask != "bad-1" || w.Error != "negative" {
		t.Errorf("the failed chord is %+v", w)
	}
	group("late", &jobs.NewTask{ID: "wrong", Name: "echo", MaxRetries: 3}, 1) // a number is not a string
	f.await(t, "late-0", final)
	if task := f.await(t, "wrong", final); task.Attempts != 1 {
		t.Errorf("a callback with invalid results had %d attempts, want 1", task.Attempts)
	}
	if w := workflow(t, f, "late"); w.State != jobs.StateFailed || w.FailedTask != "wrong" || w.Failed != 0 {
		t.Errorf("the chord with a failed callback is %+v", w)
	}
	group("plain", nil, -1, 1)
	f.await(t, "plain-1", final)
	if w := workflow(t, f, "plain"); w.Kind != "group" || w.State != jobs.StateFailed || w.Progress != 100 || w.FailedTask != "plain-0" || w.Succeeded != 1 {
		t.Errorf("the group is %+v", w)
	}
	stop()
	group("half", nil, 1, 1)
	if _, err := f.store.Cancel(t.Context(), "half-1"); err != nil {
		t.Fatal(err)
	}
	if w := workflow(t, f, "half"); w.State != jobs.StateRunning || w.Progress != 50 || w.FailedTask != "half-1" || w.Error != driver.CancelReason {
		t.Errorf("half a group is %+v", w)
	}
}

// A task in a chain gets the result, followed by the defaults of its arguments.
func TestChainFillsDefaults(t *testing.T) {
	scaled := jobs.Definition{
		Name: "scaled", Args: []jobs.Arg{{Name: "n", Type: jobs.ArgInteger}, {Name: "by", Type: jobs.ArgInteger, Default: 10}},
		Handler: func(_ context.Context, job *jobs.Job) error {
			var n, by int
			if err := job.Args(&n, &by); err != nil {
				return err
			}
			return job.Return(n * by)
		},
	}
	f := newFixture(t, double, scaled)
	f.work(t, machinery.Options{})
	chain := []jobs.Link{link("double", `[1]`), link("scaled", `[]`), link("scaled", `[3]`)}
	first, _, err := f.client.EnqueueChain(t.Context(), chain)
	if err != nil {
		t.Fatal(err)
	}
	var w *jobs.Workflow
	for end := time.Now().Add(60 * time.Second); ; <-time.After(5 * time.Millisecond) {
		if w = workflow(t, f, first.ID); w.State.Final() || time.Now().After(end) {
			break
		}
	}
	if w.State != jobs.StateSuccess || string(w.Result) != "60" { // 2 by 10, and 3 by that
		t.Errorf("%+v, %s", w, w.Result)
	}
}
