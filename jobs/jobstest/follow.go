package jobstest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
)

var followChecks = []check{
	{"keyword arguments and headers come back with the task and its lease", (*suite).keepsKwargs},
	{"kwargs or headers that are no object, and links, are refused", (*suite).refusesKwargs},
	{"a callback gets its kwargs, headers and results as the group says", (*suite).callbackResults},
	{"a group follows a task, and its callback follows the group", (*suite).groupFollows},
	{"a following group of which an id is in use elsewhere is skipped", (*suite).groupFollowsTaken},
	{"cancelling a chain cancels the group in it, which cannot be cancelled alone", (*suite).groupIsAborted},
	{"a dead letter is followed by its error tasks", (*suite).deadIsFollowed},
	{"a callback that cannot run is followed by its error tasks", (*suite).failedCallbackIsFollowed},
}

// named returns a task with keyword arguments and headers.
func named(id string) jobs.NewTask {
	n := task(id)
	n.Args, n.Kwargs, n.Headers = json.RawMessage(`[1]`), json.RawMessage(`{"big":9007199254740993,"empty":[]}`), json.RawMessage(`{"trace":"ä"}`)
	return n
}

func wantNamed(t *testing.T, what string, got *jobs.Task, args string) {
	t.Helper()
	if string(got.Args) != args || string(got.Kwargs) != `{"big":9007199254740993,"empty":[]}` || string(got.Headers) != `{"trace":"ä"}` {
		t.Errorf("%s: args %s, kwargs %s, headers %s; want args %s", what, got.Args, got.Kwargs, got.Headers, args)
	}
}

func (s *suite) keepsKwargs(t *testing.T) {
	st, other := s.handle(t), s.handle(t)
	wantNamed(t, "Enqueue", enqueue(t, st, named("a")), "[1]")
	got, err := other.Get(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	wantNamed(t, "Get", got, "[1]")
	listed, err := other.List(t.Context(), jobs.Query{Limit: 10})
	if err != nil || len(listed.Tasks) != 1 {
		t.Fatalf("List = %v, %v", listed, err)
	}
	wantNamed(t, "List", listed.Tasks[0], "[1]")
	l := leaseOne(t, other, "w")
	wantNamed(t, "Lease", l.Task, "[1]")
	next := named("b")
	finish(t, st, l, driver.Outcome{State: jobs.StateSuccess, Next: []jobs.NewTask{next}})
	wantNamed(t, "Next", leaseOne(t, st, "w").Task, "[1]")
	if plain := enqueue(t, st, task("plain")); string(plain.Kwargs) != "{}" || plain.Headers != nil {
		t.Errorf("a task without: kwargs %s, headers %s", plain.Kwargs, plain.Headers)
	}
	if plain := leaseOne(t, st, "w").Task; string(plain.Kwargs) != "{}" || plain.Headers != nil {
		t.Errorf("its lease: kwargs %s, headers %s", plain.Kwargs, plain.Headers)
	}
}

func (s *suite) refusesKwargs(t *testing.T) {
	st := s.handle(t)
	for _, n := range []jobs.NewTask{
		{Kwargs: json.RawMessage(`[1]`)}, {Kwargs: json.RawMessage(`{"a":`)}, {Kwargs: json.RawMessage("{\"\xff\":1}")},
		{Headers: json.RawMessage(`"x"`)}, {Headers: json.RawMessage(``)},
		{Link: []jobs.Link{{NewTask: task("b")}}}, {LinkError: []jobs.Link{{NewTask: task("b")}}},
	} {
		n.ID, n.Name = "a", "work"
		if _, _, err := st.Enqueue(t.Context(), n); err == nil || errors.Is(err, jobs.ErrUnavailable) {
			t.Errorf("%+v is accepted: %v", n, err)
		}
	}
	if _, err := st.Get(t.Context(), "a"); !errors.Is(err, jobs.ErrNotFound) {
		t.Errorf("Get = %v", err)
	}
}

func (s *suite) callbackResults(t *testing.T) {
	st := s.handle(t)
	for _, c := range []struct {
		immutable bool
		how       jobs.Results
		args      string
		want      string
	}{
		{false, "", "[1]", `[1,"x",null]`},
		{false, jobs.ResultsAppend, "", `["x",null]`},
		{false, jobs.ResultsPrepend, "[1]", `["x",null,1]`},
		{false, jobs.ResultsPrepend, "", `["x",null]`},
		{false, jobs.ResultsList, "[1]", `[["x",null],1]`},
		{false, jobs.ResultsList, "", `[["x",null]]`},
		{true, jobs.ResultsList, "[1]", `[1]`},
	} {
		id := fmt.Sprintf("%v-%s-%d", c.immutable, c.how, len(c.args))
		callback := named(id + "-c")
		if callback.Args = nil; c.args != "" {
			callback.Args = json.RawMessage(c.args)
		}
		g := jobs.NewGroup{ID: id, Members: []jobs.NewTask{task(id + "-1"), task(id + "-2")}, Callback: &callback, Immutable: c.immutable, Results: c.how}
		if _, err := st.EnqueueGroup(t.Context(), g); err != nil {
			t.Fatal(err)
		}
		finish(t, st, leaseOne(t, st, "w"), driver.Outcome{State: jobs.StateSuccess, Result: json.RawMessage(`"x"`)})
		finish(t, st, leaseOne(t, st, "w"), driver.Outcome{State: jobs.StateSuccess})
		l := leaseOne(t, st, "w")
		wantNamed(t, id, l.Task, c.want)
		finish(t, st, l, driver.Outcome{State: jobs.StateSuccess})
	}
}

// following returns the first task of a workflow with a group in it, and the group.
func following() (jobs.NewTask, jobs.NewGroup) {
	callback := task("callback")
	callback.Followers = []string{"last"}
	g := jobs.NewGroup{ID: "g", Members: []jobs.NewTask{named("m1"), task("m2")}, Callback: &callback, Results: jobs.ResultsList}
	g.Members[1].Followers = []string{"after-m2"}
	return first("first", "g", "m1", "m2", "after-m2", "callback", "last"), g
}

func (s *suite) groupFollows(t *testing.T) {
	st, other := s.handle(t), s.handle(t)
	n, g := following()
	enqueue(t, st, n)
	refuseID(t, other, "g", "first")
	refuseID(t, other, "m1", "first")
	finish(t, st, leaseOne(t, st, "w"), driver.Outcome{State: jobs.StateSuccess, NextGroups: []jobs.NewGroup{g}})
	if got, err := other.Group(t.Context(), "g"); err != nil || len(got.Members) != 2 || got.Callback != "callback" {
		t.Fatalf("Group = %+v, %v", got, err)
	}
	for _, id := range []string{"after-m2", "callback", "last"} {
		refuseID(t, other, id, "first")
	}
	m1, m2 := leaseOne(t, st, "w"), leaseOne(t, st, "w")
	wantNamed(t, "the first member", m1.Task, "[1]")
	if got, err := st.Get(t.Context(), "m1"); err != nil || got.WorkflowID() != "first" || got.Group != "g" {
		t.Errorf("the first member is %+v, %v", got, err)
	}
	finish(t, st, m1, driver.Outcome{State: jobs.StateSuccess, Result: json.RawMessage("1")})
	finish(t, other, m2, driver.Outcome{State: jobs.StateSuccess, Next: []jobs.NewTask{task("after-m2")}})
	for range 2 { // after-m2 and callback, in any order
		l := leaseOne(t, st, "w")
		if got, err := st.Get(t.Context(), l.Task.ID); err != nil || got.WorkflowID() != "first" || got.Group != "" {
			t.Errorf("leased %s: %+v, %v", l.Task.ID, got, err)
		}
		o := driver.Outcome{State: jobs.StateSuccess}
		if l.Task.ID == "callback" {
			o.Next = []jobs.NewTask{task("last")}
			if string(l.Task.Args) != "[[1,null]]" {
				t.Errorf("the callback has %s", l.Task.Args)
			}
		}
		finish(t, st, l, o)
	}
	finish(t, st, leaseOne(t, st, "w"), driver.Outcome{State: jobs.StateSuccess})
	wantState(t, st, "after-m2", jobs.StateSuccess)
	if got := wantState(t, st, "last", jobs.StateSuccess); got.WorkflowID() != "first" {
		t.Errorf("the last is %+v", got)
	}
	s.leaseNone(t, st, by("w", 1))
}

func (s *suite) groupFollowsTaken(t *testing.T) {
	st := s.handle(t)
	_, g := following()
	n := first("first", "g", "m1", "callback", "last", "after-m2") // without m2
	enqueue(t, st, task("m2"))
	enqueue(t, st, n)
	finish(t, st, leaseOne(t, st, "w"), driver.Outcome{State: jobs.StateSuccess})
	finish(t, st, leaseOne(t, st, "w"), driver.Outcome{State: jobs.StateSuccess, NextGroups: []jobs.NewGroup{g}})
	if _, err := st.Group(t.Context(), "g"); !errors.Is(err, jobs.ErrNotFound) {
		t.Errorf("Group = %v", err)
	}
	s.leaseNone(t, st, by("w", 1))
	enqueue(t, st, task("m1")) // no longer reserved
}

func (s *suite) groupIsAborted(t *testing.T) {
	st := s.handle(t)
	n, g := following()
	enqueue(t, st, n)
	finish(t, st, leaseOne(t, st, "w"), driver.Outcome{State: jobs.StateSuccess, NextGroups: []jobs.NewGroup{g}})
	if err := st.CancelWorkflow(t.Context(), "g"); !errors.Is(err, jobs.ErrState) {
		t.Errorf("cancel the group alone: %v", err)
	}
	l := leaseOne(t, st, "w")
	if err := st.CancelWorkflow(t.Context(), "first"); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"m1", "m2", "callback"} {
		if got := wantState(t, st, id, jobs.StateCancelled); got.Error != driver.AbortReason || !got.Aborted {
			t.Errorf("%s is %+v", id, got)
		}
	}
	if err := st.Finish(t.Context(), l, driver.Outcome{State: jobs.StateSuccess}); !errors.Is(err, jobs.ErrLeaseLost) {
		t.Errorf("Finish of a cancelled member: %v", err)
	}
	s.leaseNone(t, st, by("w", 1))
	enqueue(t, st, task("last"))
}

// onError returns a task that is followed by the tasks told, which gets the error text, and
// left, which is immutable.
func onError(t *testing.T, id string) jobs.NewTask {
	t.Helper()
	store := &recorder{}
	told, left := task("told"), named("left")
	told.Args = json.RawMessage(`["x"]`)
	n := task(id)
	n.LinkError = []jobs.Link{{NewTask: told}, {NewTask: left, Immutable: true}}
	if _, _, err := (&jobs.Client{Store: store}).Enqueue(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	store.last.Digest = ""
	return store.last
}

// wantErrorTasks leases the tasks of onError.
func wantErrorTasks(t *testing.T, st driver.Store, reason, workflow string) {
	t.Helper()
	args, err := json.Marshal([]string{reason, "x"})
	if err != nil {
		t.Fatal(err)
	}
	told := leaseOne(t, st, "w2")
	if told.Task.ID != "told" || string(told.Task.Args) != string(args) {
		t.Errorf("leased %s with %s; want told with %s", told.Task.ID, told.Task.Args, args)
	}
	left := leaseOne(t, st, "w2")
	if left.Task.ID != "left" {
		t.Errorf("leased %s, want left", left.Task.ID)
	}
	wantNamed(t, "left", left.Task, "[1]")
	if got, err := st.Get(t.Context(), "told"); err != nil || got.WorkflowID() != workflow {
		t.Errorf("told is %+v, %v", got, err)
	}
}

func (s *suite) deadIsFollowed(t *testing.T) {
	st := s.handle(t)
	n := onError(t, "a")
	n.RunAt = time.Now().Add(-time.Minute)
	enqueue(t, st, n)
	for range s.MaxLost {
		leaseOne(t, st, "w")
		if _, err := st.Reclaim(t.Context(), "w"); err != nil {
			t.Fatal(err)
		}
	}
	dead := wantState(t, st, "a", jobs.StateDead)
	wantErrorTasks(t, st, dead.Error, "a")
}

func (s *suite) failedCallbackIsFollowed(t *testing.T) {
	st := s.handle(t)
	callback := onError(t, "c")
	g := jobs.NewGroup{ID: "g", Members: []jobs.NewTask{task("m")}, Callback: &callback}
	if _, err := st.EnqueueGroup(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	finish(t, st, leaseOne(t, st, "w"), driver.Outcome{State: jobs.StateFailed, Error: "no \"luck\""})
	wantErrorTasks(t, st, wantState(t, st, "c", jobs.StateFailed).Error, "g")
}

// recorder is a jobs.Store that keeps the last task only.
type recorder struct {
	jobs.Store
	last jobs.NewTask
}

// Enqueue implements jobs.Store.
func (r *recorder) Enqueue(_ context.Context, n jobs.NewTask) (*jobs.Task, bool, error) {
	r.last = n
	return &jobs.Task{ID: n.ID}, true, nil
}
