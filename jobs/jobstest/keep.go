package jobstest

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
)

var keepChecks = []check{
	{"an ended task is kept for its retention time, then removed", (*suite).keeps},
	{"a task that has not ended is never removed", (*suite).keepsWaiting},
	{"a group and its members are kept until the group has ended", (*suite).keepsResults},
}

// keep is the retention time of these checks.
const keep = 300 * time.Millisecond

// wantGone waits until a task is removed.
func wantGone(t *testing.T, st driver.Store, id string) {
	t.Helper()
	testutil.Eventually(t, id+" is gone", func() bool {
		_, err := st.Get(t.Context(), id)
		return errors.Is(err, jobs.ErrNotFound)
	})
}

func (s *suite) keeps(t *testing.T) {
	st, other := s.keeping(t, keep), s.keeping(t, keep)
	enqueueGroup(t, st, jobs.NewGroup{ID: "g", Members: members("m", 1)})
	l := leaseOne(t, st, "w")
	before := time.Now()
	finish(t, st, l, driver.Outcome{State: jobs.StateSuccess, Result: json.RawMessage(`"old"`)})
	if got, err := other.Get(t.Context(), "m-0"); err == nil && string(got.Result) != `"old"` || err != nil && time.Since(before) < keep {
		t.Fatalf("Get = %+v, %v", got, err)
	}
	wantGone(t, other, "m-0")
	if d := time.Since(before); d < keep {
		t.Errorf("task was removed after %v, want %v or later", d, keep)
	}
	testutil.Eventually(t, "the group is gone", func() bool {
		_, err := other.Group(t.Context(), "g")
		return errors.Is(err, jobs.ErrNotFound)
	})
	// The ids can be used again.
	enqueueGroup(t, other, jobs.NewGroup{ID: "g", Members: members("m", 1)})
	if l := leaseOne(t, st, "w"); l.Attempt != 1 || l.Task.Result != nil {
		t.Errorf("the new task is %+v", l.Task)
	}
}

func (s *suite) keepsWaiting(t *testing.T) {
	st := s.keeping(t, keep)
	for _, id := range []string{"queued", "running", "retrying"} {
		n := task(id)
		n.Name = id
		enqueue(t, st, n)
	}
	r := by("w", 1)
	r.Names = []string{"running"}
	lease(t, st, r)
	r.Names = []string{"retrying"}
	finish(t, st, lease(t, st, r)[0], driver.Outcome{State: jobs.StateRetrying, Error: "x", RetryAt: time.Now().Add(time.Hour)})
	enqueue(t, st, task("ended"))
	finish(t, st, leaseOne(t, st, "w"), driver.Outcome{State: jobs.StateFailed, Error: "x"})
	wantGone(t, st, "ended")
	for _, id := range []string{"queued", "running", "retrying"} {
		wantState(t, st, id, jobs.State(id))
	}
}

func (s *suite) keepsResults(t *testing.T) {
	st := s.keeping(t, keep)
	enqueueGroup(t, st, chordOf(2))
	finish(t, st, leaseOne(t, st, "w"), driver.Outcome{State: jobs.StateSuccess, Result: json.RawMessage(`"long ago"`)})
	wantGone(t, st, "m-0")
	enqueue(t, st, due("other")) // a write, with which the store may remove old tasks
	l := lease(t, st, by("w", 2))
	for _, l := range l {
		finish(t, st, l, driver.Outcome{State: jobs.StateSuccess, Result: json.RawMessage(`1`)})
	}
	if got := lease(t, st, callbacks(1))[0]; string(got.Task.Args) != `["first","long ago",1]` {
		t.Errorf("arguments are %s", got.Task.Args)
	}
}
