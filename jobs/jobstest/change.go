package jobstest

import (
	"reflect"
	"testing"
	"time"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
)

var changeChecks = []check{
	{"a waiting task that is cancelled never starts", (*suite).cancelsWaiting},
	{"the worker of a cancelled task loses its lease", (*suite).cancelsRunning},
	{"after a suspect is cancelled, its owner can lease another suspect", (*suite).cancelsSuspect},
	{"a cancelled member is counted and ends the chord", (*suite).cancelsMember},
	{"a task that has ended cannot be cancelled", (*suite).cancelsNothing},
	{"a failed, cancelled or dead task can be requeued", (*suite).requeues},
	{"other tasks cannot be requeued", (*suite).requeuesNothing},
}

func cancel(t *testing.T, st driver.Store, id string) *jobs.Task {
	t.Helper()
	got, err := st.Cancel(t.Context(), id)
	if err != nil {
		t.Fatalf("Cancel: %v", err)
	}
	if got.State != jobs.StateCancelled || got.Finished == nil || got.Error == "" {
		t.Errorf("cancelled task is %+v", got)
	}
	wantSame(t, st, got)
	return got
}

func (s *suite) cancelsWaiting(t *testing.T) {
	st, other := s.handle(t), s.handle(t)
	later, soon := task("later"), task("soon")
	later.RunAt, soon.RunAt = time.Now().Add(time.Hour), time.Now().Add(shortly)
	for _, n := range []jobs.NewTask{task("retrying"), task("released")} {
		enqueue(t, st, n)
		l := leaseOne(t, st, "w")
		if n.ID == "released" {
			if err := st.Release(t.Context(), l); err != nil {
				t.Fatal(err)
			}
			continue
		}
		finish(t, st, l, driver.Outcome{State: jobs.StateRetrying, Error: "x", RetryAt: time.Now().Add(shortly)})
	}
	for _, n := range []jobs.NewTask{later, soon, task("queued")} {
		enqueue(t, st, n)
	}
	for _, id := range []string{"later", "soon", "queued", "retrying", "released"} {
		before := get(t, st, id)
		if got := cancel(t, other, id); got.Version <= before.Version {
			t.Errorf("%s: version %d after %d", id, got.Version, before.Version)
		}
		if again, err := other.Cancel(t.Context(), id); err != nil || again.State != jobs.StateCancelled {
			t.Errorf("second Cancel: %+v, %v", again, err)
		}
	}
	if d, err := st.Depth(t.Context()); err != nil || len(d) != 0 {
		t.Errorf("depth is %+v, %v", d, err)
	}
	s.leaseNone(t, st, by("w", 10))
	enqueue(t, st, task("next"))
	if l := leaseOne(t, st, "w"); l.Task.ID != "next" {
		t.Errorf("leased %s", l.Task.ID)
	}
}

func (s *suite) cancelsRunning(t *testing.T) {
	st, other := s.handle(t), s.handle(t)
	enqueue(t, st, task("a"))
	enqueue(t, st, task("b"))
	l := lease(t, st, by("w", 2))
	if lost, err := st.Held(t.Context(), l); err != nil || len(lost) != 0 {
		t.Fatalf("Held = %v, %v", ids(lost), err)
	}
	cancel(t, other, l[0].Task.ID)
	if lost, err := st.Held(t.Context(), l); err != nil || len(lost) != 1 || lost[0] != l[0] {
		t.Errorf("Held = %v, %v", ids(lost), err)
	}
	s.refused(t, st, l[0], l[0].Task.ID)
	if n, err := other.Reclaim(t.Context(), "w"); err != nil || n != 1 {
		t.Errorf("Reclaim = %d, %v; want 1, the other running task", n, err)
	}
	if again := leaseOne(t, st, "w"); again.Task.ID != l[1].Task.ID {
		t.Errorf("leased %s", again.Task.ID)
	}
	s.leaseNone(t, st, by("w", 1))
}

func (s *suite) cancelsSuspect(t *testing.T) {
	st := s.handle(t)
	for _, id := range []string{"a", "b"} {
		enqueue(t, st, task(id))
		for range driver.SuspectAfter {
			leaseOne(t, st, "w")
			if _, err := st.Reclaim(t.Context(), "w"); err != nil {
				t.Fatal(err)
			}
		}
		if id == "a" {
			cancel(t, st, "a") // a waiting suspect
		}
	}
	l := leaseOne(t, st, "w")
	if l.Task.ID != "b" {
		t.Fatalf("leased %s", l.Task.ID)
	}
	cancel(t, st, "b")
	if got, err := st.Requeue(t.Context(), "a"); err != nil || got.State != jobs.StateQueued {
		t.Fatalf("Requeue: %+v, %v", got, err)
	}
	if l := leaseOne(t, st, "w"); l.Task.ID != "a" {
		t.Errorf("leased %s", l.Task.ID)
	}
}

func (s *suite) cancelsMember(t *testing.T) {
	st := s.handle(t)
	callback := task("callback")
	g := jobs.NewGroup{ID: "g", Members: []jobs.NewTask{task("a"), task("b")}, Callback: &callback}
	if _, err := st.EnqueueGroup(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	cancel(t, st, "b")
	if got := wantState(t, st, "callback", jobs.StateFailed); got.Error != driver.ChordError("b", driver.CancelReason) {
		t.Errorf("error of the callback is %q", got.Error)
	}
	cancel(t, st, "a")
	if got, err := st.Group(t.Context(), "g"); err != nil || got.Failed != 2 || got.Finished == nil {
		t.Errorf("group is %+v, %v", got, err)
	}
	for _, id := range []string{"a", "b", "callback"} {
		before := get(t, st, id)
		_, err := st.Requeue(t.Context(), id)
		wantError(t, "Requeue "+id, err, jobs.ErrState)
		wantSame(t, st, before)
	}
}

func (s *suite) cancelsNothing(t *testing.T) {
	st := s.handle(t)
	_, err := st.Cancel(t.Context(), "nobody")
	wantError(t, "Cancel of an unknown id", err, jobs.ErrNotFound)
	for _, state := range []jobs.State{jobs.StateSuccess, jobs.StateFailed, jobs.StateDead} {
		id := string(state)
		enqueue(t, st, task(id))
		finish(t, st, leaseOne(t, st, "w"), driver.Outcome{State: state, Error: "x"})
		before := get(t, st, id)
		_, err := st.Cancel(t.Context(), id)
		wantError(t, "Cancel "+id, err, jobs.ErrState)
		wantSame(t, st, before)
	}
}

func (s *suite) requeues(t *testing.T) {
	st, other := s.handle(t), s.handle(t)
	for _, state := range []jobs.State{jobs.StateFailed, jobs.StateCancelled, jobs.StateDead} {
		id := string(state)
		n := task(id)
		n.Args = []byte(`["kept"]`)
		enqueue(t, st, n)
		l := leaseOne(t, st, "w")
		finish(t, st, l, driver.Outcome{State: state, Error: "why", Artifacts: []string{"half.txt"}})
		before := get(t, st, id)
		got, err := other.Requeue(t.Context(), id)
		if err != nil || got.State != jobs.StateQueued || got.Finished != nil || got.Error != "" || len(got.Artifacts) != 0 || got.Version <= before.Version {
			t.Fatalf("Requeue: %+v, %v", got, err)
		}
		if !reflect.DeepEqual(got.Failures, before.Failures) || string(got.Args) != `["kept"]` {
			t.Errorf("finished task is %+v", got)
		}
		s.refused(t, st, l, id)
		if d, err := st.Depth(t.Context()); err != nil || len(d) != 1 || d[0].Waiting != 1 || d[0].Dead != 0 {
			t.Errorf("depth is %+v, %v", d, err)
		}
		again := leaseOne(t, st, "w")
		if again.Task.ID != id || again.Attempt != 2 {
			t.Errorf("leased %s, attempt %d", again.Task.ID, again.Attempt)
		}
		finish(t, st, again, driver.Outcome{State: jobs.StateSuccess})
		wantState(t, other, id, jobs.StateSuccess)
	}
}

func (s *suite) requeuesNothing(t *testing.T) {
	st := s.handle(t)
	_, err := st.Requeue(t.Context(), "nobody")
	wantError(t, "Requeue of an unknown id", err, jobs.ErrNotFound)
	enqueue(t, st, task("a"))
	for _, step := range []func(){
		func() {},
		func() { leaseOne(t, st, "w") },
		func() {
			finish(t, st, &driver.Lease{Task: get(t, st, "a"), Owner: "w", Attempt: 1}, driver.Outcome{State: jobs.StateSuccess})
		},
	} {
		step()
		before := get(t, st, "a")
		_, err := st.Requeue(t.Context(), "a")
		wantError(t, "Requeue of a task in the state "+string(before.State), err, jobs.ErrState)
		wantSame(t, st, before)
	}
}
