package jobstest

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
)

var groupChecks = []check{
	{"a group counts its members", (*suite).groupCounts},
	{"a callback runs once, with the results in order", (*suite).chord},
	{"an immutable callback keeps its arguments", (*suite).chordImmutable},
	{"a member that fails ends the chord", (*suite).chordFails},
	{"a dead member ends the chord", (*suite).chordDies},
	{"a member that is retried is counted once", (*suite).chordRetries},
	{"members that end concurrently enqueue one callback", (*suite).chordAtOnce},
	{"enqueueing a group twice is one group", (*suite).sameGroup},
	{"a group is accepted completely or not at all", (*suite).groupTaken},
	{"a missing group is ErrNotFound", (*suite).noGroup},
}

// members returns n tasks whose ids start with id.
func members(id string, n int) (all []jobs.NewTask) {
	for i := range n {
		all = append(all, task(fmt.Sprint(id, "-", i)))
	}
	return all
}

func enqueueGroup(t *testing.T, st driver.Store, g jobs.NewGroup) {
	t.Helper()
	if created, err := st.EnqueueGroup(t.Context(), g); err != nil || !created {
		t.Fatalf("EnqueueGroup = %v, %v", created, err)
	}
}

func group(t *testing.T, st driver.Store) *jobs.Group {
	t.Helper()
	g, err := st.Group(t.Context(), "g")
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// chordOf returns a chord of n members. Its callback is leased only with the request
// callbacks.
func chordOf(n int) jobs.NewGroup {
	return jobs.NewGroup{ID: "g", Members: members("m", n), Callback: &jobs.NewTask{ID: "c", Name: "callback", Queue: "after", Args: json.RawMessage(`["first"]`)}}
}

func callbacks(max int) driver.LeaseRequest {
	return driver.LeaseRequest{Owner: "w", Queues: []string{"after"}, Names: []string{"callback"}, Max: max}
}

func (s *suite) groupCounts(t *testing.T) {
	st, other := s.handle(t), s.handle(t)
	enqueueGroup(t, st, jobs.NewGroup{ID: "g", Members: members("m", 3)})
	if got := get(t, other, "m-1"); got.Group != "g" || got.State != jobs.StateQueued {
		t.Errorf("member is %+v", got)
	}
	g := group(t, other)
	if !slices.Equal(g.Members, []string{"m-0", "m-1", "m-2"}) || g.Succeeded+g.Failed != 0 || g.Finished != nil || g.Callback != "" || g.Created.IsZero() {
		t.Errorf("new group is %+v", g)
	}
	for i, state := range []jobs.State{jobs.StateSuccess, jobs.StateFailed, jobs.StateSuccess} {
		finish(t, other, leaseOne(t, st, "w"), driver.Outcome{State: state, Error: "x"})
		if g = group(t, st); g.Succeeded+g.Failed != i+1 || (g.Finished != nil) != (i == 2) {
			t.Errorf("after %d members %+v", i+1, g)
		}
	}
	if g.Succeeded != 2 || g.Failed != 1 {
		t.Errorf("ended group is %+v", g)
	}
	s.leaseNone(t, st, by("w", 1))
}

func (s *suite) chord(t *testing.T) {
	st, other := s.handle(t), s.handle(t)
	const n = 12
	enqueueGroup(t, st, chordOf(n))
	if g := group(t, other); g.Callback != "c" {
		t.Errorf("group is %+v", g)
	}
	leases := lease(t, other, by("w", n))
	if len(leases) != n {
		t.Fatalf("leased %v", ids(leases))
	}
	slices.Reverse(leases) // not in the order of the members
	for i, l := range leases {
		if _, err := st.Get(t.Context(), "c"); !errors.Is(err, jobs.ErrNotFound) {
			t.Fatalf("the callback exists after %d members: %v", i, err)
		}
		o := driver.Outcome{State: jobs.StateSuccess, Result: json.RawMessage(`{"id":"` + l.Task.ID + `","größe":[1,2]}`)}
		if l.Task.ID == "m-3" {
			o.Result = nil
		}
		finish(t, st, l, o)
	}
	want := []string{`"first"`}
	for i := range n {
		result := fmt.Sprintf(`{"id":"m-%d","größe":[1,2]}`, i)
		if i == 3 {
			result = "null"
		}
		want = append(want, result)
	}
	got := lease(t, other, callbacks(2))
	if len(got) != 1 || got[0].Task.ID != "c" || string(got[0].Task.Args) != "["+strings.Join(want, ",")+"]" {
		t.Fatalf("leased %v with %s", ids(got), got[0].Task.Args)
	}
	finish(t, other, got[0], driver.Outcome{State: jobs.StateSuccess})
	s.leaseNone(t, st, callbacks(1))
}

func (s *suite) chordImmutable(t *testing.T) {
	st := s.handle(t)
	g := chordOf(2)
	g.Immutable = true
	enqueueGroup(t, st, g)
	for _, l := range lease(t, st, by("w", 2)) {
		finish(t, st, l, driver.Outcome{State: jobs.StateSuccess, Result: json.RawMessage(`1`)})
	}
	if got := lease(t, st, callbacks(1)); string(got[0].Task.Args) != `["first"]` {
		t.Errorf("arguments are %s", got[0].Task.Args)
	}
}

func (s *suite) chordFails(t *testing.T) {
	for _, state := range []jobs.State{jobs.StateFailed, jobs.StateCancelled, jobs.StateDead} {
		t.Run(string(state), func(t *testing.T) {
			st := s.handle(t)
			enqueueGroup(t, st, chordOf(3))
			leases := lease(t, st, by("w", 3))
			finish(t, st, leases[0], driver.Outcome{State: jobs.StateSuccess})
			finish(t, st, leases[1], driver.Outcome{State: state, Error: "no \"such\" größe"})
			s.wantEnded(t, st, leases[1].Task.ID, "no \"such\" größe")
			finish(t, st, leases[2], driver.Outcome{State: state, Error: "me too"})
			s.wantEnded(t, st, leases[1].Task.ID, "no \"such\" größe")
			if g := group(t, st); g.Succeeded != 1 || g.Failed != 2 || g.Finished == nil {
				t.Errorf("group is %+v", g)
			}
		})
	}
}

// wantEnded fails unless the callback has failed with the error of the failed member.
func (s *suite) wantEnded(t *testing.T, st driver.Store, member, reason string) {
	t.Helper()
	c := wantState(t, st, "c", jobs.StateFailed)
	if c.Error != driver.ChordError(member, reason) || c.Finished == nil || c.Attempts != 0 || len(c.Failures) != 1 || c.Failures[0].Error != c.Error {
		t.Errorf("callback is %+v", c)
	}
	s.leaseNone(t, st, callbacks(1))
}

func (s *suite) chordDies(t *testing.T) {
	st := s.handle(t)
	enqueueGroup(t, st, chordOf(1))
	for range s.MaxLost {
		lose(t, st, by("w", 1))
	}
	wantState(t, st, "m-0", jobs.StateDead)
	s.wantEnded(t, st, "m-0", driver.LostReason(s.MaxLost))
}

func (s *suite) chordRetries(t *testing.T) {
	st := s.handle(t)
	enqueueGroup(t, st, chordOf(1))
	for range 2 {
		finish(t, st, leaseOne(t, st, "w"), driver.Outcome{State: jobs.StateRetrying, Error: "again"})
		l := leaseOne(t, st, "w")
		if err := st.Release(t.Context(), l); err != nil {
			t.Fatal(err)
		}
	}
	if g := group(t, st); g.Succeeded+g.Failed != 0 {
		t.Errorf("group is %+v", g)
	}
	l := leaseOne(t, st, "w")
	finish(t, st, l, driver.Outcome{State: jobs.StateSuccess})
	wantError(t, "a second Finish", st.Finish(t.Context(), l, driver.Outcome{State: jobs.StateFailed, Error: "x"}), jobs.ErrLeaseLost)
	if g := group(t, st); g.Succeeded != 1 || g.Failed != 0 {
		t.Errorf("group is %+v", g)
	}
	leaseOneOf(t, st, callbacks(1), "c")
}

func leaseOneOf(t *testing.T, st driver.Store, r driver.LeaseRequest, id string) {
	t.Helper()
	if got := lease(t, st, r); !slices.Equal(ids(got), []string{id}) {
		t.Errorf("leased %v, want %s", ids(got), id)
	}
}

func (s *suite) chordAtOnce(t *testing.T) {
	handles := []driver.Store{s.handle(t), s.handle(t)}
	for round := range 5 {
		g := chordOf(16)
		g.ID = fmt.Sprint("g", round)
		g.Members, g.Callback.ID = members(g.ID, 16), g.ID+"-c"
		enqueueGroup(t, handles[0], g)
		var wg sync.WaitGroup
		leases := lease(t, handles[1], by("w", 16))
		for i, l := range leases {
			wg.Go(func() {
				if err := handles[i%2].Finish(t.Context(), l, driver.Outcome{State: jobs.StateSuccess}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		got := lease(t, handles[round%2], callbacks(2))
		if !slices.Equal(ids(got), []string{g.Callback.ID}) {
			t.Errorf("leased %v, want %s", ids(got), g.Callback.ID)
		}
		finish(t, handles[round%2], got[0], driver.Outcome{State: jobs.StateSuccess}) // otherwise it is due again on a slow machine
	}
}

func (s *suite) sameGroup(t *testing.T) {
	st, other := s.handle(t), s.handle(t)
	enqueueGroup(t, st, chordOf(2))
	again := chordOf(3)
	again.Members = members("others", 3)
	if created, err := other.EnqueueGroup(t.Context(), again); err != nil || created {
		t.Errorf("EnqueueGroup = %v, %v", created, err)
	}
	if g := group(t, st); len(g.Members) != 2 {
		t.Errorf("group is %+v", g)
	}
	_, err := st.Get(t.Context(), "others-0")
	wantError(t, "Get of a member of the second", err, jobs.ErrNotFound)
}

func (s *suite) groupTaken(t *testing.T) {
	st := s.handle(t)
	enqueue(t, st, task("taken"))
	for name, g := range map[string]jobs.NewGroup{
		"a member":   {ID: "g", Members: append(members("m", 2), task("taken"))},
		"a callback": {ID: "g", Members: members("m", 2), Callback: &jobs.NewTask{ID: "taken", Name: "work"}},
	} {
		_, err := st.EnqueueGroup(t.Context(), g)
		wantError(t, name, err, jobs.ErrTaken)
	}
	for name, g := range map[string]jobs.NewGroup{
		"an id twice": {ID: "g", Members: append(members("m", 2), task("m-0"))},
		"no members":  {ID: "g"},
		"no id":       {Members: members("m", 1)},
		"no name":     {ID: "g", Members: []jobs.NewTask{{ID: "m-0"}}},
		"too many":    {ID: "g", Members: members("m", jobs.MaxMembers+1)},
		"callback":    {ID: "g", Members: members("m", 1), Callback: &jobs.NewTask{ID: "c", Name: "work", Args: json.RawMessage(`{}`)}},
	} {
		if created, err := st.EnqueueGroup(t.Context(), g); err == nil || created {
			t.Errorf("%s: accepted", name)
		}
	}
	_, err := st.Get(t.Context(), "m-0")
	wantError(t, "Get of a member", err, jobs.ErrNotFound)
	_, err = st.Group(t.Context(), "g")
	wantError(t, "Group", err, jobs.ErrNotFound)
	leaseOneOf(t, st, by("w", 2), "taken")
	s.leaseNone(t, st, by("w", 2))
}

func (s *suite) noGroup(t *testing.T) {
	_, err := s.handle(t).Group(t.Context(), "nobody")
	wantError(t, "Group", err, jobs.ErrNotFound)
}
