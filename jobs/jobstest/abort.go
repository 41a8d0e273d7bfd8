package jobstest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
)

var abortChecks = []check{
	{"the waiting tasks of a cancelled workflow never start", (*suite).abortsWaiting},
	{"a cancelled chain enqueues no further task", (*suite).abortsChain},
	{"a cancelled group ends with all of its members", (*suite).abortsGroup},
	{"a cancelled chord ends its callback", (*suite).abortsCallback},
	{"the remaining members of a failed chord can be cancelled", (*suite).abortsRest},
	{"a single task can be cancelled as a workflow", (*suite).abortsTask},
	{"ended workflows and tasks inside a workflow cannot be cancelled as one", (*suite).abortsNothing},
	{"cancelling a workflow while its tasks finish leaves no task", (*suite).abortsAtOnce},
}

func abort(t *testing.T, st driver.Store, id string) {
	t.Helper()
	for range 2 { // cancelling it again is no error
		if err := st.CancelWorkflow(t.Context(), id); err != nil {
			t.Fatalf("CancelWorkflow: %v", err)
		}
	}
}

// wantAborted fails unless a task was cancelled with its workflow and cannot be requeued.
func wantAborted(t *testing.T, st driver.Store, id string) {
	t.Helper()
	got := wantState(t, st, id, jobs.StateCancelled)
	if got.Error != driver.AbortReason || !got.Aborted || got.Finished == nil {
		t.Errorf("task is %+v", got)
	}
	_, err := st.Requeue(t.Context(), id)
	wantError(t, "Requeue "+id, err, jobs.ErrState)
	wantSame(t, st, got)
}

func (s *suite) abortsWaiting(t *testing.T) {
	st, other := s.handle(t), s.handle(t)
	later := first("a", "b", "c")
	later.RunAt = time.Now().Add(time.Hour)
	enqueue(t, st, later)
	version := get(t, st, "a").Version
	abort(t, other, "a")
	wantAborted(t, st, "a")
	if got := get(t, st, "a"); got.Version <= version {
		t.Errorf("version %d after %d", got.Version, version)
	}
	wantFree(t, st, "b")
	wantFree(t, st, "c")
	s.leaseNone(t, st, by("w", 5))
}

func (s *suite) abortsChain(t *testing.T) {
	st, other := s.handle(t), s.handle(t)
	enqueue(t, st, first("a", "b", "c", "on-error"))
	succeed(t, st, "a", first("b", "c", "on-error"))
	l := leaseOne(t, st, "w")
	abort(t, other, "a")
	if lost, err := st.Held(t.Context(), []*driver.Lease{l}); err != nil || len(lost) != 1 {
		t.Errorf("Held = %v, %v", ids(lost), err)
	}
	err := st.Finish(t.Context(), l, driver.Outcome{State: jobs.StateSuccess, Next: []jobs.NewTask{task("c")}})
	wantError(t, "Finish", err, jobs.ErrLeaseLost)
	wantAborted(t, other, "b")
	if a := wantState(t, st, "a", jobs.StateSuccess); !a.Aborted {
		t.Errorf("the first task is %+v", a)
	}
	_, err = st.Get(t.Context(), "c")
	wantError(t, "Get of the third", err, jobs.ErrNotFound)
	s.leaseNone(t, st, by("w", 5))
	wantFree(t, st, "c")
	wantFree(t, st, "on-error")
	abort(t, st, "a") // tasks that use the free ids now are not changed
	wantState(t, st, "c", jobs.StateQueued)
}

func (s *suite) abortsGroup(t *testing.T) {
	st, other := s.handle(t), s.handle(t)
	g := jobs.NewGroup{ID: "g", Members: members("m", 4)}
	g.Members[3].Followers = []string{"after"}
	enqueueGroup(t, st, g)
	finish(t, st, leaseOne(t, st, "w"), driver.Outcome{State: jobs.StateSuccess})
	l := leaseOne(t, st, "w")
	abort(t, other, "g")
	got := group(t, st)
	if !got.Aborted || got.Succeeded != 1 || got.Failed != 3 || got.Finished == nil || got.FailedMember == "" || got.Error != driver.AbortReason {
		t.Errorf("group is %+v", got)
	}
	s.refused(t, st, l, l.Task.ID)
	for i := 1; i < 4; i++ {
		wantAborted(t, st, fmt.Sprint("m-", i))
	}
	wantFree(t, st, "after")
	s.leaseNone(t, st, by("w", 5))
}

func (s *suite) abortsCallback(t *testing.T) {
	st := s.handle(t)
	g := chordOf(3)
	g.Callback.Followers = []string{"after"}
	enqueueGroup(t, st, g)
	l := leaseOne(t, st, "w")
	abort(t, st, "g")
	wantAborted(t, st, "c")
	s.refused(t, st, l, l.Task.ID)
	wantFree(t, st, "after")
	s.leaseNone(t, st, callbacks(1))
	if got := group(t, st); !got.Aborted || got.Failed != 3 || got.Finished == nil {
		t.Errorf("group is %+v", got)
	}

	g = chordOf(1) // a callback that is running
	g.ID, g.Members, g.Callback.ID = "g2", members("k", 1), "c2"
	enqueueGroup(t, st, g)
	finish(t, st, leaseOne(t, st, "w"), driver.Outcome{State: jobs.StateSuccess})
	l = lease(t, st, callbacks(1))[0]
	abort(t, st, "g2")
	s.refused(t, st, l, "c2")
	wantAborted(t, st, "c2")
}

func (s *suite) abortsRest(t *testing.T) {
	st := s.handle(t)
	enqueueGroup(t, st, chordOf(3))
	finish(t, st, leaseOne(t, st, "w"), driver.Outcome{State: jobs.StateFailed, Error: "x"})
	wantState(t, st, "c", jobs.StateFailed)
	abort(t, st, "g")
	wantState(t, st, "c", jobs.StateFailed)
	if got := group(t, st); !got.Aborted || got.Failed != 3 || got.Finished == nil || got.Error != "x" {
		t.Errorf("group is %+v", got)
	}
	s.leaseNone(t, st, by("w", 5))
}

func (s *suite) abortsTask(t *testing.T) {
	st := s.handle(t)
	enqueue(t, st, task("alone"))
	abort(t, st, "alone")
	wantAborted(t, st, "alone")
	s.leaseNone(t, st, by("w", 1))
}

func (s *suite) abortsNothing(t *testing.T) {
	st := s.handle(t)
	wantError(t, "an unknown id", st.CancelWorkflow(t.Context(), "nobody"), jobs.ErrNotFound)
	enqueue(t, st, first("a", "b"))
	wantError(t, "a reserved id", st.CancelWorkflow(t.Context(), "b"), jobs.ErrNotFound)
	succeed(t, st, "a", task("b"))
	wantError(t, "a part of a chain", st.CancelWorkflow(t.Context(), "b"), jobs.ErrState)
	succeed(t, st, "b")
	before := get(t, st, "a")
	wantError(t, "a chain that has ended", st.CancelWorkflow(t.Context(), "a"), jobs.ErrState)
	wantSame(t, st, before)

	enqueueGroup(t, st, chordOf(1))
	wantError(t, "a member", st.CancelWorkflow(t.Context(), "m-0"), jobs.ErrState)
	succeed(t, st, "m-0")
	finish(t, st, lease(t, st, callbacks(1))[0], driver.Outcome{State: jobs.StateSuccess})
	wantError(t, "a chord that has ended", st.CancelWorkflow(t.Context(), "g"), jobs.ErrState)
	if got := group(t, st); got.Aborted {
		t.Errorf("group is %+v", got)
	}
	enqueue(t, st, first("f", "after-f"))
	finish(t, st, leaseOne(t, st, "w"), driver.Outcome{State: jobs.StateFailed, Error: "x"})
	wantError(t, "a chain that has failed", st.CancelWorkflow(t.Context(), "f"), jobs.ErrState)
	refuseID(t, st, "after-f", "f")
	if _, err := st.Requeue(t.Context(), "f"); err != nil {
		t.Error(err)
	}
}

// abortsAtOnce cancels a chain while one of its tasks finishes. Afterwards no task of the
// chain may wait or run.
func (s *suite) abortsAtOnce(t *testing.T) {
	st, other := s.handle(t), s.handle(t)
	for round := range 20 {
		a, b := fmt.Sprint("a", round), fmt.Sprint("b", round)
		enqueue(t, st, first(a, b))
		l := leaseOne(t, st, "w")
		ended := make(chan error, 1)
		go func() { // ends with Finish
			ended <- st.Finish(t.Context(), l, driver.Outcome{State: jobs.StateSuccess, Next: []jobs.NewTask{task(b)}})
		}()
		if err := other.CancelWorkflow(t.Context(), a); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; err != nil && !errors.Is(err, jobs.ErrLeaseLost) {
			t.Error(err)
		} else if err == nil {
			wantAborted(t, st, b)
		} else {
			wantAborted(t, st, a)
			_, err := st.Get(t.Context(), b)
			wantError(t, "Get of the next", err, jobs.ErrNotFound)
		}
	}
	s.leaseNone(t, st, by("w", 5))
}
