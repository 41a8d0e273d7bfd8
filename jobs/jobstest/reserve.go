package jobstest

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
)

var reserveChecks = []check{
	{"the ids of a workflow are reserved when it is accepted", (*suite).reserves},
	{"tasks, groups and reservations share one space of ids", (*suite).oneSpace},
	{"a workflow with an id that is in use is refused completely", (*suite).reservesAllOrNothing},
	{"one of several workflows with a common id is accepted", (*suite).reservesAtOnce},
	{"reservations pass to the next task of the workflow", (*suite).handsOn},
	{"success frees the ids of tasks that can no longer follow", (*suite).freesUnreached},
	{"a failed task keeps its reservations for another try", (*suite).keepsForRetry},
	{"a reservation is removed with the task that precedes it", (*suite).reservationExpires},
	{"members and callback pass on their reservations", (*suite).groupHandsOn},
	{"the same workflow twice is one workflow, and a different one is refused", (*suite).sameWorkflow},
	{"equal ids in a workflow are refused", (*suite).sameIDInside},
	{"next tasks of a task without a workflow reserve no ids", (*suite).noWorkflow},
}

// first returns a task that starts a workflow.
func first(id string, followers ...string) jobs.NewTask {
	n := task(id)
	n.Followers = followers
	return n
}

// wantTaken fails unless err names the id that is in use and its workflow.
func wantTaken(t *testing.T, what string, err error, id, workflow string) {
	t.Helper()
	taken, ok := errors.AsType[driver.TakenError](err)
	if !ok || taken.ID != id || taken.Workflow != workflow || !errors.Is(err, jobs.ErrTaken) {
		t.Errorf("%s: %v; want that %s is in use by %q", what, err, id, workflow)
	}
}

// refuseID fails unless every way to use the id is refused.
func refuseID(t *testing.T, st driver.Store, id, workflow string) {
	t.Helper()
	_, _, err := st.Enqueue(t.Context(), task(id))
	wantTaken(t, "a task", err, id, workflow)
	unique := keyed(id, "work", time.Hour)
	unique.Unique = "key of " + id
	_, _, err = st.Enqueue(t.Context(), unique)
	wantTaken(t, "a unique task", err, id, workflow)
	refuseLater(t, st, id, workflow)
}

// refuseLater fails unless every use of the id is refused, except as the id of a single
// task, which is no error if the task exists.
func refuseLater(t *testing.T, st driver.Store, id, workflow string) {
	t.Helper()
	_, _, err := st.Enqueue(t.Context(), first("x", "y", id))
	wantTaken(t, "a follower", err, id, workflow)
	for what, g := range map[string]jobs.NewGroup{
		"a group":              {ID: id, Members: members("x", 2)},
		"a member":             {ID: "y", Members: append(members("x", 2), task(id))},
		"a callback":           {ID: "y", Members: members("x", 2), Callback: &jobs.NewTask{ID: id, Name: "work"}},
		"after a member":       {ID: "y", Members: append(members("x", 2), first("z", id))},
		"after a callback":     {ID: "y", Members: members("x", 2), Callback: &jobs.NewTask{ID: "z", Name: "work", Followers: []string{id}}},
		"a member with digest": {ID: "y", Digest: "d", Members: []jobs.NewTask{task(id)}},
	} {
		created, err := st.EnqueueGroup(t.Context(), g)
		wantTaken(t, what, err, id, workflow)
		if created {
			t.Errorf("%s: created", what)
		}
	}
	for _, free := range []string{"x", "y", "z", "x-0", "x-1"} { // nothing else was accepted either
		if _, err := st.Get(t.Context(), free); !errors.Is(err, jobs.ErrNotFound) {
			t.Errorf("%s was accepted: %v", free, err)
		}
	}
	if _, err := st.Group(t.Context(), "y"); !errors.Is(err, jobs.ErrNotFound) {
		t.Errorf("the group was accepted: %v", err)
	}
}

// wantFree fails if the id is in use.
func wantFree(t *testing.T, st driver.Store, id string) {
	t.Helper()
	n := task(id)
	n.Name = "nobody runs it"
	if _, created, err := st.Enqueue(t.Context(), n); err != nil || !created {
		t.Errorf("%s is not free: %v, %v", id, created, err)
	}
}

func (s *suite) reserves(t *testing.T) {
	st, other := s.handle(t), s.handle(t)
	got := enqueue(t, st, first("a", "b", "d"))
	if got.Workflow != "a" || !slices.Equal(got.Followers, []string{"b", "d"}) {
		t.Errorf("the first task is %+v", got)
	}
	wantSame(t, other, got)
	for _, id := range []string{"b", "d"} {
		refuseID(t, other, id, "a")
		_, err := st.Get(t.Context(), id)
		wantError(t, "Get "+id, err, jobs.ErrNotFound)
	}
	g := chordOf(2)
	g.Members[0].Followers, g.Callback.Followers = []string{"after-m"}, []string{"after-c"}
	enqueueGroup(t, st, g)
	for _, id := range []string{"c", "after-m", "after-c"} {
		refuseID(t, other, id, "g")
	}
}

func (s *suite) oneSpace(t *testing.T) {
	st := s.handle(t)
	enqueue(t, st, task("alone"))
	enqueue(t, st, first("a", "b"))
	enqueueGroup(t, st, jobs.NewGroup{ID: "g", Members: members("m", 1)})
	refuseLater(t, st, "alone", "")
	refuseLater(t, st, "a", "a")
	refuseLater(t, st, "m-0", "g")
	_, _, err := st.Enqueue(t.Context(), task("g"))
	wantTaken(t, "a task with the id of a group", err, "g", "g")
	_, _, err = st.Enqueue(t.Context(), first("x", "g"))
	wantTaken(t, "a follower with the id of a group", err, "g", "g")
	if _, created, err := st.Enqueue(t.Context(), task("m-0")); err != nil || created {
		t.Errorf("an existing task: %v, %v", created, err)
	}
}

func (s *suite) reservesAllOrNothing(t *testing.T) {
	st := s.handle(t)
	enqueue(t, st, first("a", "b"))
	n := first("x", "y", "b", "z")
	n.Unique, n.UniqueFor = "k", time.Hour
	_, _, err := st.Enqueue(t.Context(), n)
	wantTaken(t, "Enqueue", err, "b", "a")
	for _, id := range []string{"x", "y", "z"} {
		wantFree(t, st, id)
	}
	n.ID, n.Followers = "x2", nil
	if _, created, err := st.Enqueue(t.Context(), n); err != nil || !created {
		t.Errorf("the unique key is not free: %v, %v", created, err)
	}
}

func (s *suite) reservesAtOnce(t *testing.T) {
	handles := []driver.Store{s.handle(t), s.handle(t)}
	const callers = 12
	for round := range 5 {
		shared := fmt.Sprint("shared-", round)
		var won atomic.Int32
		var wg sync.WaitGroup
		for i := range callers {
			wg.Go(func() {
				id := fmt.Sprint("w-", round, "-", i)
				st := handles[i%2]
				var err error
				switch i % 3 {
				case 0:
					_, _, err = st.Enqueue(t.Context(), first(id, id+"-1", shared))
				case 1:
					_, err = st.EnqueueGroup(t.Context(), jobs.NewGroup{ID: id, Members: append(members(id, 2), task(shared))})
				case 2:
					_, err = st.EnqueueGroup(t.Context(), jobs.NewGroup{ID: id, Members: members(id, 2), Callback: &jobs.NewTask{ID: shared, Name: "c"}})
				}
				if err == nil {
					won.Add(1)
				} else if !errors.Is(err, jobs.ErrTaken) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if n := won.Load(); n != 1 {
			t.Errorf("round %d: %d were accepted", round, n)
		}
	}
}

// succeed finishes the only due task, with next as its next tasks.
func succeed(t *testing.T, st driver.Store, id string, next ...jobs.NewTask) {
	t.Helper()
	l := leaseOne(t, st, "w")
	if l.Task.ID != id {
		t.Fatalf("leased %s, want %s", l.Task.ID, id)
	}
	finish(t, st, l, driver.Outcome{State: jobs.StateSuccess, Result: json.RawMessage(`1`), Next: next})
}

func (s *suite) handsOn(t *testing.T) {
	st, other := s.handle(t), s.handle(t)
	enqueue(t, st, first("a", "b", "c", "d"))
	succeed(t, other, "a", first("b", "c", "d"))
	if b := get(t, st, "b"); b.Workflow != "a" || b.State != jobs.StateQueued || !slices.Equal(b.Followers, []string{"c", "d"}) {
		t.Errorf("the second task is %+v", b)
	}
	if _, created, err := st.Enqueue(t.Context(), task("b")); err != nil || created {
		t.Errorf("a task that was accepted: %v, %v", created, err)
	}
	refuseID(t, st, "c", "a")
	succeed(t, st, "b", first("c", "d"))
	refuseID(t, st, "d", "a")
	succeed(t, st, "c", task("d"))
	succeed(t, st, "d")
	for _, id := range []string{"a", "b", "c", "d"} {
		wantState(t, other, id, jobs.StateSuccess)
	}
}

func (s *suite) freesUnreached(t *testing.T) {
	st := s.handle(t)
	enqueue(t, st, first("a", "b", "c", "on-error"))
	succeed(t, st, "a", first("b", "c"))
	wantFree(t, st, "on-error")
	refuseID(t, st, "c", "a")
	succeed(t, st, "b")
	wantFree(t, st, "c")
}

// retryKeep is the retention time of checks that change an ended task before it is removed.
// It is long enough for a busy machine.
const retryKeep = 5 * time.Second

func (s *suite) keepsForRetry(t *testing.T) {
	for _, state := range []jobs.State{jobs.StateFailed, jobs.StateDead, jobs.StateCancelled} {
		t.Run(string(state), func(t *testing.T) {
			t.Parallel() // the check waits for retryKeep
			st := s.keeping(t, retryKeep)
			enqueue(t, st, first("a", "b", "on-error"))
			l := leaseOne(t, st, "w")
			if state == jobs.StateCancelled {
				cancel(t, st, "a")
			} else {
				finish(t, st, l, driver.Outcome{State: state, Error: "x", Next: []jobs.NewTask{task("on-error")}})
				succeed(t, st, "on-error")
			}
			refuseID(t, st, "b", "a")
			if _, err := st.Requeue(t.Context(), "a"); err != nil {
				t.Fatal(err)
			}
			// Wait for longer than the retention time.
			end := time.Now().Add(retryKeep + time.Second)
			testutil.Eventually(t, "the time is over", func() bool { return time.Now().After(end) })
			refuseID(t, st, "b", "a")
			succeed(t, st, "a", task("b"))
			succeed(t, st, "b")
		})
	}
}

func (s *suite) reservationExpires(t *testing.T) {
	st := s.keeping(t, retryKeep)
	enqueue(t, st, first("a", "b"))
	finish(t, st, leaseOne(t, st, "w"), driver.Outcome{State: jobs.StateFailed, Error: "x"})
	refuseID(t, st, "b", "a")
	wantGone(t, st, "a")
	testutil.Eventually(t, "the id is free", func() bool {
		_, created, err := st.Enqueue(t.Context(), task("b"))
		return err == nil && created
	})
	enqueue(t, st, first("a", "c"))
}

func (s *suite) groupHandsOn(t *testing.T) {
	st := s.handle(t)
	g := chordOf(2)
	g.Members[0].Followers, g.Callback.Followers = []string{"after-m"}, []string{"after-c", "last"}
	enqueueGroup(t, st, g)
	for _, l := range lease(t, st, by("w", 2)) {
		var next []jobs.NewTask
		if l.Task.ID == "m-0" {
			next = []jobs.NewTask{task("after-m")}
		}
		finish(t, st, l, driver.Outcome{State: jobs.StateSuccess, Next: next})
	}
	succeed(t, st, "after-m")
	if got := get(t, st, "after-m"); got.Workflow != "g" {
		t.Errorf("the task after the member is %+v", got)
	}
	refuseID(t, st, "after-c", "g")
	l := lease(t, st, callbacks(1))[0]
	if got := get(t, st, "c"); got.Workflow != "g" || len(got.Followers) != 2 {
		t.Errorf("the callback is %+v", got)
	}
	finish(t, st, l, driver.Outcome{State: jobs.StateSuccess, Next: []jobs.NewTask{first("after-c", "last")}})
	refuseID(t, st, "last", "g")
	succeed(t, st, "after-c", task("last"))
	succeed(t, st, "last")

	g.ID, g.Members = "broken", members("k", 1)
	g.Callback = &jobs.NewTask{ID: "c2", Name: "callback", Followers: []string{"never"}}
	enqueueGroup(t, st, g)
	finish(t, st, leaseOne(t, st, "w"), driver.Outcome{State: jobs.StateFailed, Error: "x"})
	wantState(t, st, "c2", jobs.StateFailed)
	wantFree(t, st, "never")
}

func (s *suite) sameWorkflow(t *testing.T) {
	st, other := s.handle(t), s.handle(t)
	n := first("a", "b")
	n.Digest = "one"
	before := enqueue(t, st, n)
	again := first("a", "drawn-anew")
	again.Digest = "one"
	if got, created, err := other.Enqueue(t.Context(), again); err != nil || created || got.Version != before.Version || got.Digest != "one" {
		t.Errorf("the same: %+v, %v, %v", got, created, err)
	}
	again.Digest = "two"
	_, _, err := other.Enqueue(t.Context(), again)
	wantTaken(t, "another", err, "a", "a")
	if _, created, err := other.Enqueue(t.Context(), task("a")); err != nil || created {
		t.Errorf("a task of that id: %v, %v", created, err)
	}
	wantFree(t, st, "drawn-anew")
	wantSame(t, st, before)
	enqueue(t, st, task("alone"))
	again.ID = "alone"
	_, _, err = other.Enqueue(t.Context(), again)
	wantTaken(t, "a workflow with the id of a task", err, "alone", "")

	g := chordOf(2)
	g.Callback.ID, g.Digest = "c", "one"
	enqueueGroup(t, st, g)
	anew := chordOf(2)
	anew.Members, anew.Callback.ID, anew.Digest = members("anew", 2), "c-anew", "one"
	if created, err := other.EnqueueGroup(t.Context(), anew); err != nil || created {
		t.Errorf("the same group: %v, %v", created, err)
	}
	anew.Digest = "two"
	_, err = other.EnqueueGroup(t.Context(), anew)
	wantTaken(t, "another group", err, "g", "g")
	wantFree(t, st, "c-anew")
	wantFree(t, st, "anew-0")
}

func (s *suite) sameIDInside(t *testing.T) {
	st := s.handle(t)
	for _, n := range []jobs.NewTask{first("a", "a"), first("a", "b", "b"), first("a", "b", "../c")} {
		if _, created, err := st.Enqueue(t.Context(), n); created || err == nil || errors.Is(err, jobs.ErrUnavailable) {
			t.Errorf("%s, %v: %v, %v", n.ID, n.Followers, created, err)
		}
	}
	for name, g := range map[string]jobs.NewGroup{
		"a member twice":        {ID: "g", Members: append(members("m", 2), task("m-0"))},
		"a member as the group": {ID: "m-0", Members: members("m", 1)},
		"a member as callback":  {ID: "g", Members: members("m", 1), Callback: &jobs.NewTask{ID: "m-0", Name: "c"}},
		"a callback as group":   {ID: "g", Members: members("m", 1), Callback: &jobs.NewTask{ID: "g", Name: "c"}},
		"after a member":        {ID: "g", Members: append(members("m", 1), first("n", "m-0"))},
		"after the callback":    {ID: "g", Members: members("m", 1), Callback: &jobs.NewTask{ID: "c", Name: "c", Followers: []string{"m-0"}}},
	} {
		if created, err := st.EnqueueGroup(t.Context(), g); created || !errors.Is(err, jobs.ErrOption) {
			t.Errorf("%s: %v, %v", name, created, err)
		}
	}
	for _, id := range []string{"a", "b", "m-0", "n", "c", "g"} {
		wantFree(t, st, id)
	}
}

func (s *suite) noWorkflow(t *testing.T) {
	st := s.handle(t)
	enqueue(t, st, task("a"))
	enqueue(t, st, first("other", "c"))
	l := lease(t, st, by("w", 2))
	for _, each := range l {
		if each.Task.ID == "a" { // the id c is in use, b is not
			finish(t, st, each, driver.Outcome{State: jobs.StateSuccess, Next: []jobs.NewTask{first("b", "d"), task("c")}})
		}
	}
	if b := wantState(t, st, "b", jobs.StateQueued); b.Workflow != "" || b.Followers != nil {
		t.Errorf("the next task is %+v", b)
	}
	_, err := st.Get(t.Context(), "c")
	wantError(t, "Get of an id that another workflow has reserved", err, jobs.ErrNotFound)
	wantFree(t, st, "d")
}
