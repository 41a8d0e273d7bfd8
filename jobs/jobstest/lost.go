package jobstest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
)

var lostChecks = []check{
	{"the tasks of a dead worker are due at once after Reclaim", (*suite).reclaims},
	{"Reclaim of an unknown owner changes nothing", (*suite).reclaimsNothing},
	{"a task that is reclaimed MaxLost times is dead", (*suite).deadByReclaim},
	{"a task whose leases expire MaxLost times is dead", (*suite).deadByExpiry},
	{"a dead task does not delay the others", (*suite).othersGoOn},
}

func (s *suite) reclaims(t *testing.T) {
	st, other := s.handle(t), s.handle(t)
	enqueueMany(t, st, due("t"), 3)
	dead := lease(t, st, by("box/worker.0", 2))
	alive := leaseOne(t, st, "box/worker.00") // a different name with the same prefix

	n, err := other.Reclaim(t.Context(), "box/worker.0")
	if err != nil || n != 2 {
		t.Fatalf("Reclaim = %d, %v; want 2", n, err)
	}
	for _, l := range dead {
		if got := wantState(t, st, l.Task.ID, jobs.StateQueued); len(got.Failures) > 0 || got.Attempts != 1 {
			t.Errorf("reclaimed task is %+v", got)
		}
	}
	wantState(t, st, alive.Task.ID, jobs.StateRunning)
	again := lease(t, st, by("box/worker.0", 3))
	got, want := ids(again), ids(dead)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) || again[0].Attempt != 2 || again[1].Attempt != 2 {
		t.Errorf("leased %v after Reclaim, want %v", got, want)
	}
	for _, l := range dead {
		wantError(t, "Finish by the dead worker", st.Finish(t.Context(), l, driver.Outcome{State: jobs.StateSuccess}), jobs.ErrLeaseLost)
	}
	finish(t, other, alive, driver.Outcome{State: jobs.StateSuccess})
}

func (s *suite) reclaimsNothing(t *testing.T) {
	st := s.handle(t)
	enqueue(t, st, task("queued"))
	finish(t, st, leaseOne(t, st, "w"), driver.Outcome{State: jobs.StateSuccess})
	before := get(t, st, "queued")
	for _, owner := range []string{"w", "nobody", ""} {
		if n, err := st.Reclaim(t.Context(), owner); n != 0 || err != nil {
			t.Errorf("Reclaim(%q) = %d, %v", owner, n, err)
		}
	}
	wantSame(t, st, before)
}

func (s *suite) deadByReclaim(t *testing.T) {
	st := s.handle(t)
	enqueue(t, st, task("poison"))
	for i := range s.MaxLost {
		if l := leaseOne(t, st, "w"); l.Attempt != i+1 || l.Task.Lost != i {
			t.Fatalf("attempt %d with %d lost, want %d with %d", l.Attempt, l.Task.Lost, i+1, i)
		}
		if got := get(t, st, "poison"); got.Lost != i {
			t.Fatalf("%d lost, want %d", got.Lost, i)
		}
		if n, err := st.Reclaim(t.Context(), "w"); n != 1 || err != nil {
			t.Fatalf("Reclaim = %d, %v", n, err)
		}
	}
	s.wantDead(t, st, "poison")
}

func (s *suite) deadByExpiry(t *testing.T) {
	st, other := s.expiring(t), s.expiring(t)
	enqueue(t, st, task("poison"))
	for range s.MaxLost {
		leaseOne(t, st, "w")
	}
	// The next Lease detects that the lease has expired once more.
	got := make(chan *driver.Lease, 1)
	go func() { got <- leaseSoon(t, other) }() // ends when it has a lease, or after patience
	testutil.Eventually(t, "the task is dead", func() bool { return get(t, st, "poison").State == jobs.StateDead })
	s.wantDead(t, st, "poison")
	enqueue(t, st, task("good"))
	if l := <-got; l != nil && l.Task.ID != "good" {
		t.Errorf("leased %s", l.Task.ID)
	}
}

func (s *suite) wantDead(t *testing.T, st driver.Store, id string) {
	t.Helper()
	got := wantState(t, st, id, jobs.StateDead)
	if !strings.Contains(got.Error, fmt.Sprint(s.MaxLost)) || got.Finished == nil || got.Attempts != s.MaxLost {
		t.Errorf("dead task is %+v", got)
	}
	if n := len(got.Failures); n != 1 || got.Failures[0].Error != got.Error || got.Failures[0].Attempt != s.MaxLost {
		t.Errorf("failures are %+v", got.Failures)
	}
	s.leaseNone(t, st, by("w", 1))
}

func (s *suite) othersGoOn(t *testing.T) {
	st := s.handle(t)
	enqueue(t, st, task("poison"))
	enqueueMany(t, st, due("good"), 2*s.MaxLost)
	done := 0
	// The worker is killed each time it has leased the crashing task.
	for rounds := 0; done < 2*s.MaxLost; rounds++ {
		if rounds > 4*s.MaxLost {
			t.Fatalf("%d tasks done after %d rounds", done, rounds)
		}
		l := leaseOne(t, st, "w")
		if l.Task.ID != "poison" {
			finish(t, st, l, driver.Outcome{State: jobs.StateSuccess})
			done++
		} else if _, err := st.Reclaim(t.Context(), "w"); err != nil {
			t.Fatal(err)
		}
	}
	for get(t, st, "poison").State != jobs.StateDead {
		leaseOne(t, st, "w")
		if _, err := st.Reclaim(t.Context(), "w"); err != nil {
			t.Fatal(err)
		}
	}
	s.wantDead(t, st, "poison")
}
