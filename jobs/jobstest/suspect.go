package jobstest

import (
	"slices"
	"testing"
	"time"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
)

var suspectChecks = []check{
	{"other leases of a crashed owner of a suspect are not counted as lost", (*suite).neighbours},
	{"leases that expire together with the lease of a suspect are not counted as lost", (*suite).neighboursExpire},
	{"an owner holds one suspect at a time", (*suite).oneSuspect},
}

// lose leases up to r.Max due tasks, loses these leases and returns the ids of the tasks.
func lose(t *testing.T, st driver.Store, r driver.LeaseRequest) []string {
	t.Helper()
	got := ids(lease(t, st, r))
	if _, err := st.Reclaim(t.Context(), r.Owner); err != nil {
		t.Fatal(err)
	}
	slices.Sort(got)
	return got
}

func (s *suite) neighbours(t *testing.T) {
	st := s.handle(t)
	enqueue(t, st, due("poison"))
	for range driver.SuspectAfter {
		lose(t, st, by("w", 1))
	}
	enqueue(t, st, due("good"))
	// The suspect crashes the worker several times, each time with a lease of both tasks.
	for range s.MaxLost - driver.SuspectAfter {
		if got := lose(t, st, by("w", 2)); !slices.Equal(got, []string{"good", "poison"}) {
			t.Fatalf("leased %v", got)
		}
	}
	wantState(t, st, "poison", jobs.StateDead)
	wantState(t, st, "good", jobs.StateQueued)
	// No lost lease of the good task has been counted, so it is not dead after MaxLost-1
	// lost leases.
	for range s.MaxLost - 1 {
		lose(t, st, by("w", 1))
	}
	finish(t, st, leaseOne(t, st, "w"), driver.Outcome{State: jobs.StateSuccess})
}

func (s *suite) neighboursExpire(t *testing.T) {
	st := s.expiring(t)
	enqueue(t, st, due("poison"))
	for range driver.SuspectAfter {
		lose(t, st, by("w", 1))
	}
	enqueue(t, st, due("good"))
	both := lease(t, st, by("w", 2))
	if len(both) != 2 {
		t.Fatalf("leased %v", ids(both))
	}
	// No call of Lease runs, so it does not matter if this test is late.
	half := time.Now().Add(shortLease / 2)
	testutil.Eventually(t, "half of the lease is over", func() bool { return time.Now().After(half) })
	good := slices.DeleteFunc(both, func(l *driver.Lease) bool { return l.Task.ID != "good" })
	if lost, err := st.Extend(t.Context(), good); err != nil || len(lost) > 0 {
		t.Fatalf("Extend lost %v, %v", ids(lost), err)
	}
	// The lease of the suspect expires first. When the other lease expires, the suspect
	// is leased by another owner or dead.
	var again []*driver.Lease
	for len(again) < 2 {
		again = append(again, lease(t, st, by("x", 2-len(again)))...)
		if s.MaxLost == driver.SuspectAfter+1 {
			break // the suspect is dead now
		}
	}
	if _, err := st.Reclaim(t.Context(), "x"); err != nil {
		t.Fatal(err)
	}
	testutil.Eventually(t, "the good one is due", func() bool { return get(t, st, "good").State == jobs.StateQueued })
	losses := 0
	for get(t, st, "good").State != jobs.StateDead {
		if slices.Contains(lose(t, st, by("y", 1)), "good") {
			losses++
		}
	}
	if losses < s.MaxLost-1 {
		t.Errorf("dead after %d more lost leases, limit %d: the lease lost together with the suspect was counted", losses, s.MaxLost)
	}
}

func (s *suite) oneSuspect(t *testing.T) {
	st, other := s.handle(t), s.handle(t)
	enqueueMany(t, st, due("bad"), 3)
	for range driver.SuspectAfter {
		if got := lose(t, st, by("w", 3)); len(got) != 3 {
			t.Fatalf("leased %v", got)
		}
	}
	enqueue(t, st, task("good"))
	first := lease(t, st, by("w", 4))
	if len(first) != 2 {
		t.Fatalf("leased %v; want one of the suspects, and good", ids(first))
	}
	s.leaseNone(t, st, by("w", 4))
	second := lease(t, other, by("x", 4))
	if len(second) != 1 {
		t.Fatalf("another owner leased %v; want one of the suspects", ids(second))
	}
	for _, l := range first {
		finish(t, st, l, driver.Outcome{State: jobs.StateSuccess})
	}
	third := lease(t, st, by("w", 4))
	if len(third) != 1 {
		t.Fatalf("then leased %v; want the last of the suspects", ids(third))
	}
	if err := st.Release(t.Context(), third[0]); err != nil {
		t.Fatal(err)
	}
	finish(t, st, leaseOne(t, st, "w"), driver.Outcome{State: jobs.StateSuccess})
	finish(t, other, second[0], driver.Outcome{State: jobs.StateSuccess})
	s.leaseNone(t, st, by("w", 4))
}
