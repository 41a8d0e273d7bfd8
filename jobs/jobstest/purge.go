package jobstest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
)

var purgeChecks = []check{
	{"waiting tasks are purged, running and ended ones are not", (*suite).purges},
	{"a purge ends only tasks in the given states", (*suite).purgesStates},
	{"a purged member is counted once, also if it was dead", (*suite).purgesMembers},
	{"ten thousand tasks are purged page by page", (*suite).purgesMany},
}

func purge(t *testing.T, st driver.Store, ids []string, states ...jobs.State) int {
	t.Helper()
	n, err := st.Purge(t.Context(), ids, states)
	if err != nil {
		t.Fatalf("Purge: %v", err)
	}
	return n
}

// oneOfEach makes a task in each state and returns their ids.
func (s *suite) oneOfEach(t *testing.T, st driver.Store) (all []string) {
	t.Helper()
	for _, state := range []jobs.State{jobs.StateSuccess, jobs.StateFailed, jobs.StateDead, jobs.StateRetrying} {
		enqueue(t, st, task(string(state)))
		finish(t, st, leaseOne(t, st, "w"), driver.Outcome{State: state, Error: "x", RetryAt: time.Now().Add(time.Hour)})
	}
	enqueue(t, st, task("cancelled"))
	cancel(t, st, "cancelled")
	enqueue(t, st, task("running"))
	leaseOne(t, st, "w")
	later := task("scheduled")
	later.RunAt = time.Now().Add(time.Hour)
	enqueue(t, st, later)
	enqueue(t, st, task("queued"))
	for name := range strings.SplitSeq(jobs.StateNames(), ", ") {
		state := jobs.State(name)
		wantState(t, st, string(state), state)
		all = append(all, string(state))
	}
	return all
}

func (s *suite) purges(t *testing.T) {
	st, other := s.handle(t), s.handle(t)
	all := s.oneOfEach(t, st)
	before := map[string]*jobs.Task{}
	for _, id := range all {
		before[id] = get(t, st, id)
	}
	if n := purge(t, other, append(all, "nobody"), driver.Purgeable...); n != 4 {
		t.Errorf("purged %d tasks, want 4", n)
	}
	if n := purge(t, other, all, driver.Purgeable...); n != 0 {
		t.Errorf("purged %d tasks again", n)
	}
	for _, id := range all {
		if !slices.Contains(driver.Purgeable, jobs.State(id)) {
			wantSame(t, st, before[id])
			continue
		}
		got := wantState(t, st, id, jobs.StateCancelled)
		if got.Error != driver.PurgedReason || got.Finished == nil || got.Version <= before[id].Version || len(got.Failures) != len(before[id].Failures) {
			t.Errorf("%s is %+v", id, got)
		}
	}
	if d, err := st.Depth(t.Context()); err != nil || len(d) != 1 || d[0].Running != 1 || d[0].Waiting+d[0].Scheduled+d[0].Dead != 0 {
		t.Errorf("depth is %+v, %v", d, err)
	}
	s.leaseNone(t, st, by("w", 10))
	finish(t, st, &driver.Lease{Task: before["running"], Owner: "w", Attempt: 1}, driver.Outcome{State: jobs.StateSuccess})
	if got, err := st.Requeue(t.Context(), "dead"); err != nil || got.State != jobs.StateQueued {
		t.Errorf("Requeue of a purged one: %+v, %v", got, err)
	}
	for _, state := range []jobs.State{jobs.StateRunning, jobs.StateSuccess, jobs.StateFailed, jobs.StateCancelled, "", "x"} {
		_, err := st.Purge(t.Context(), []string{"running"}, []jobs.State{state})
		wantError(t, "Purge of the state "+string(state), err, jobs.ErrState)
	}
	_, err := st.Purge(t.Context(), make([]string, jobs.MaxPage+1), nil)
	wantError(t, "Purge of too many ids", err, jobs.ErrOption)
}

func (s *suite) purgesStates(t *testing.T) {
	st := s.handle(t)
	all := s.oneOfEach(t, st)
	for _, state := range driver.Purgeable {
		if n := purge(t, st, all, state); n != 1 {
			t.Errorf("of %s %d were purged", state, n)
		}
		wantState(t, st, string(state), jobs.StateCancelled)
	}
}

func (s *suite) purgesMembers(t *testing.T) {
	st := s.handle(t)
	callback := task("callback")
	g := jobs.NewGroup{ID: "g", Members: []jobs.NewTask{task("a"), task("b"), task("c")}, Callback: &callback}
	if _, err := st.EnqueueGroup(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	dead := leaseOne(t, st, "w").Task.ID
	finish(t, st, &driver.Lease{Task: get(t, st, dead), Owner: "w", Attempt: 1}, driver.Outcome{State: jobs.StateDead, Error: "x"})
	if n := purge(t, st, []string{"a", "b", "c"}, driver.Purgeable...); n != 3 {
		t.Errorf("%d were purged", n)
	}
	if got, err := st.Group(t.Context(), "g"); err != nil || got.Failed != 3 || got.Succeeded != 0 || got.Finished == nil || got.FailedMember != dead {
		t.Errorf("group is %+v, %v", got, err)
	}
	if got := wantState(t, st, "callback", jobs.StateFailed); got.Error != driver.ChordError(dead, "x") {
		t.Errorf("error of the callback is %q", got.Error)
	}
}

func (s *suite) purgesMany(t *testing.T) {
	st := s.handle(t)
	const n = 10_000
	for i := range n / jobs.MaxMembers {
		g := jobs.NewGroup{ID: fmt.Sprint("g", i)}
		for j := range jobs.MaxMembers {
			g.Members = append(g.Members, task(fmt.Sprintf("t%d-%d", i, j)))
		}
		if _, err := st.EnqueueGroup(t.Context(), g); err != nil {
			t.Fatal(err)
		}
	}
	count, q := 0, jobs.Query{State: jobs.StateQueued, Limit: jobs.MaxPage}
	for {
		p, err := st.List(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		var ids []string
		for _, task := range p.Tasks {
			ids = append(ids, task.ID)
		}
		count += purge(t, st, ids, jobs.StateQueued)
		if q.Before = p.Next; p.Next == 0 {
			break
		}
	}
	if d, err := st.Depth(t.Context()); count != n || err != nil || len(d) != 0 {
		t.Errorf("%d were purged, the depth is %+v, %v", count, d, err)
	}
}
