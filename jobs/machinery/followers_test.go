package machinery_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/RichardKnop/machinery/v2/tasks"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
	"github.com/galeserver/gale/jobs/machinery"
)

// named returns a signature with an id.
func named(id, name string, args ...int64) *tasks.Signature {
	s := signature(name, args...)
	s.UUID = id
	return s
}

// wantReserved fails unless a task with the id is refused because a workflow has reserved
// it.
func wantReserved(t *testing.T, f *fixture, id, workflow string) {
	t.Helper()
	_, _, err := f.client.Enqueue(t.Context(), jobs.NewTask{ID: id, Name: "collect"})
	if taken, ok := errors.AsType[driver.TakenError](err); !ok || taken.ID != id || taken.Workflow != workflow {
		t.Errorf("task %s: error %v; want that workflow %s has reserved it", id, err, workflow)
	}
}

// In every kind of workflow, equal ids are refused and all ids are reserved.
func TestWorkflowsReserveTheirIDs(t *testing.T) {
	f := newFixture(t, double, collect)
	ctx := t.Context()
	one, two, three := link("double", `[1]`), link("double", `[]`), link("collect", `[]`)
	one.ID, two.ID, three.ID = "a", "b", "b"
	if _, created, err := f.client.EnqueueChain(ctx, []jobs.Link{one, two, three}); created || !errors.Is(err, jobs.ErrOption) || !strings.Contains(err.Error(), `"b"`) {
		t.Errorf("a chain with an id twice: %v, %v", created, err)
	}
	three.ID = "c"
	first, _, err := f.client.EnqueueChain(ctx, []jobs.Link{one, two, three})
	if err != nil || first.Workflow != "a" {
		t.Fatalf("EnqueueChain = %+v, %v", first, err)
	}
	wantReserved(t, f, "b", "a")
	wantReserved(t, f, "c", "a")

	twice, _ := tasks.NewChain(named("m1", "double", 1), named("m1", "double"))
	if _, err := machinery.SendChain(ctx, f.client, twice); !errors.Is(err, jobs.ErrOption) || !strings.Contains(err.Error(), `"m1"`) {
		t.Errorf("a chain of machinery with an id twice: %v", err)
	}
	chain, _ := tasks.NewChain(named("m1", "double", 1), named("m2", "double"), named("m3", "collect"))
	chain.Tasks[1].OnError = []*tasks.Signature{named("m2-failed", "collect"), {Name: "collect"}}
	for range 2 { // to send it again is no error
		if first, err := machinery.SendChain(ctx, f.client, chain); err != nil || first.ID != "m1" {
			t.Fatalf("SendChain = %+v, %v", first, err)
		}
	}
	for _, id := range []string{"m2", "m3", "m2-failed", chain.Tasks[1].OnError[1].UUID} {
		wantReserved(t, f, id, "m1")
	}
	other, _ := tasks.NewChain(named("m1", "double", 2), named("m4", "double"))
	if _, err := machinery.SendChain(ctx, f.client, other); !errors.Is(err, jobs.ErrTaken) {
		t.Errorf("another chain with that id: %v", err)
	}

	member := named("g1", "double", 1)
	member.OnSuccess = []*tasks.Signature{named("g1-next", "collect")}
	group, _ := tasks.NewGroup(member, named("g2", "double", 1))
	callback := named("g3", "collect")
	callback.OnSuccess = []*tasks.Signature{named("g3-next", "collect")}
	chord, _ := tasks.NewChord(group, callback)
	for range 2 {
		if err := machinery.SendChord(ctx, f.client, chord); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range []string{"g1-next", "g3", "g3-next"} {
		wantReserved(t, f, id, group.GroupUUID)
	}
	clash, _ := tasks.NewGroup(named("h1", "double", 1), named("g3", "double", 1))
	if err := machinery.SendGroup(ctx, f.client, clash); !errors.Is(err, jobs.ErrTaken) || !strings.Contains(err.Error(), `"g3"`) {
		t.Errorf("a group with a reserved id: %v", err)
	}
	inner := named("i2", "double")
	inner.GroupUUID = "other"
	nested, _ := tasks.NewChain(named("i1", "double", 1), inner)
	if _, err := machinery.SendChain(ctx, f.client, nested); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("a chain with a member of a group: %v", err)
	}
	for _, id := range []string{"h1", "i1", "m4"} {
		if _, err := f.store.Get(ctx, id); !errors.Is(err, jobs.ErrNotFound) {
			t.Errorf("%s was accepted: %v", id, err)
		}
	}

	// A signature in JSON that the caller has made.
	own, _ := tasks.NewChain(named("own", "collect"), named("own-2", "collect"), named("own-3", "collect"))
	message, err := json.Marshal(own.Tasks[0])
	if err != nil {
		t.Fatal(err)
	}
	n := jobs.NewTask{ID: "own", Name: "collect", Signature: message}
	if task, _, err := f.client.Enqueue(ctx, n); err != nil || len(task.Followers) != 2 {
		t.Fatalf("Enqueue = %+v, %v", task, err)
	}
	wantReserved(t, f, "own-3", "own")
}

// A worker that ends a task keeps the reservations for the tasks that may still follow and
// removes the others.
func TestWorkflowUsesItsReservations(t *testing.T) {
	f := newFixture(t, double, collect)
	chain, _ := tasks.NewChain(named("a", "double", 1), named("b", "double"), named("c", "collect"))
	chain.Tasks[0].OnError = []*tasks.Signature{named("a-failed", "collect")}
	if _, err := machinery.SendChain(t.Context(), f.client, chain); err != nil {
		t.Fatal(err)
	}
	f.work(t, machinery.Options{})
	for _, id := range []string{"a", "b", "c"} {
		if task := f.await(t, id, final); task.State != jobs.StateSuccess || task.Workflow != "a" {
			t.Errorf("task %+v", task)
		}
	}
	if w := workflow(t, f, "a"); w.State != jobs.StateSuccess || w.Succeeded != 3 || string(w.Result) != "[4]" {
		t.Errorf("workflow %+v %s", w, w.Result)
	}
	if _, created, err := f.client.Enqueue(t.Context(), jobs.NewTask{ID: "a-failed", Name: "collect"}); err != nil || !created {
		t.Errorf("the id of a task that was not enqueued is not free: %v, %v", created, err)
	}
}

// A chain or group that is sent twice is accepted once, even if its random ids or times
// differ.
func TestSameWorkflowInGo(t *testing.T) {
	f := newFixture(t, double, collect)
	chain := func(after time.Duration, n string) []jobs.Link {
		head := link("double", n)
		head.ID, head.RunAt = "a", time.Now().Add(after)
		return []jobs.Link{head, link("collect", `[]`)}
	}
	if _, created, err := f.client.EnqueueChain(t.Context(), chain(time.Hour, `[1]`)); err != nil || !created {
		t.Fatalf("EnqueueChain = %v, %v", created, err)
	}
	before := workflow(t, f, "a")
	if first, created, err := f.client.EnqueueChain(t.Context(), chain(2*time.Hour, `[ 1 ]`)); err != nil || created || first.ID != "a" {
		t.Errorf("the same chain: %+v, %v, %v", first, created, err)
	}
	if _, _, err := f.client.EnqueueChain(t.Context(), chain(time.Hour, `[2]`)); !errors.Is(err, jobs.ErrTaken) {
		t.Errorf("a different chain: %v", err)
	}
	if now := workflow(t, f, "a"); now.Tasks[1] != before.Tasks[1] {
		t.Errorf("the second task was %s, now it is %s", before.Tasks[1], now.Tasks[1])
	}
	// The same applies while the chain runs.
	if w, _, err := f.client.CancelAny(t.Context(), "a"); err != nil || w == nil || w.State != jobs.StateCancelled {
		t.Errorf("CancelAny = %+v, %v", w, err)
	}
	if _, created, err := f.client.EnqueueChain(t.Context(), chain(time.Hour, `[1]`)); err != nil || created {
		t.Errorf("the same chain after it was cancelled: %v, %v", created, err)
	}
}
