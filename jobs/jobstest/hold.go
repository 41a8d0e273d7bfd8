package jobstest

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
)

var holdChecks = []check{
	{"a lease expires when its full time has passed since the last extension", (*suite).extends},
	{"a task with an expired lease is leased as the next attempt", (*suite).expires},
	{"an expired lease stays current until another worker leases the task", (*suite).expiredButCurrent},
	{"a stale lease changes nothing", (*suite).stale},
	{"the lease of an ended attempt is lost", (*suite).ended},
	{"a released task is due at once", (*suite).releases},
	{"a released task keeps its place in the queue", (*suite).releaseKeepsPlace},
	{"progress and note are empty at the next attempt", (*suite).progressCleared},
}

func (s *suite) extends(t *testing.T) {
	st, other := s.expiring(t), s.expiring(t)
	enqueue(t, st, task("a"))
	extended := time.Now()
	l := leaseOne(t, st, "w")
	taken := make(chan *driver.Lease, 1)
	go func() { taken <- leaseSoon(t, other) }() // ends when it has a lease, or after patience
	beat := time.NewTicker(shortLease / 5)
	defer beat.Stop()
	beats := 0
	for ; time.Since(l.Task.Started.Add(3*shortLease)) < 0; beats++ {
		<-beat.C
		now := time.Now()
		lost, err := st.Extend(t.Context(), []*driver.Lease{l})
		if err != nil {
			t.Fatalf("Extend: %v", err)
		}
		if len(lost) > 0 {
			break // Extend was called too late, or the lease expired too early: checked below
		}
		extended = now
	}
	next := <-taken
	if next == nil || next.Task.ID != "a" || next.Attempt != l.Attempt+1 {
		t.Fatalf("second lease is %+v", next)
	}
	wantNotBefore(t, next, extended.Add(shortLease))
	t.Logf("extended %d times", beats)
	s.refused(t, st, l, "a")
}

func (s *suite) expires(t *testing.T) {
	st, other := s.expiring(t), s.expiring(t)
	id := "t"
	enqueue(t, st, task(id))
	before := time.Now()
	first := leaseOne(t, st, "w1")
	held := time.Now()
	second := leaseOne(t, other, "w2")
	wantNotBefore(t, second, before.Add(shortLease))
	late := max(0, time.Since(held)-shortLease)
	if second.Task.ID != id || second.Attempt != first.Attempt+1 || second.Owner != "w2" {
		t.Errorf("second lease is %+v", second)
	}
	if got := get(t, st, id); got.Worker != "w2" || got.Attempts != 2 || len(got.Failures) > 0 {
		t.Errorf("task is %+v; want no failure for a lost worker", got)
	}
	finish(t, other, second, driver.Outcome{State: jobs.StateSuccess})
	wantLate(t, "the next attempt", late)
}

func (s *suite) expiredButCurrent(t *testing.T) {
	st, other := s.expiring(t), s.expiring(t)
	enqueue(t, st, task("slow"))
	slow := leaseOne(t, st, "w")
	enqueue(t, st, task("slower"))
	slower := leaseOne(t, st, "w")
	later := task("later")
	later.Queue = "later"
	enqueue(t, st, later)
	r := by("w", 1)
	r.Queues = []string{"later"}
	lease(t, st, r)
	lease(t, other, r) // returns after the lease of later has expired; slow and slower expired before it

	for _, l := range []*driver.Lease{slow, slower} {
		if err := st.Progress(t.Context(), l, 50, "still there"); err != nil {
			t.Errorf("Progress: %v", err)
		}
	}
	finish(t, st, slow, driver.Outcome{State: jobs.StateSuccess})
	wantState(t, other, "slow", jobs.StateSuccess)
	extended := time.Now()
	if lost, err := st.Extend(t.Context(), []*driver.Lease{slower}); err != nil || len(lost) > 0 {
		t.Errorf("Extend lost %v, %v", ids(lost), err)
	}
	next := leaseOne(t, other, "w2")
	if next.Task.ID != "slower" {
		t.Errorf("then leased %s", next.Task.ID)
	}
	wantNotBefore(t, next, extended.Add(shortLease))
}

func (s *suite) stale(t *testing.T) {
	st, other := s.handle(t), s.handle(t)
	enqueue(t, st, task("a"))
	first := leaseOne(t, st, "w")
	if _, err := other.Reclaim(t.Context(), "w"); err != nil {
		t.Fatal(err)
	}
	current := leaseOne(t, other, "w") // of the same owner, so that only the attempt differs
	for name, l := range map[string]*driver.Lease{
		"an earlier attempt":                first,
		"another owner":                     {Task: current.Task, Owner: "x", Attempt: current.Attempt},
		"an attempt that never started":     {Task: current.Task, Owner: "w", Attempt: current.Attempt + 1},
		"a task that does not exist":        {Task: &jobs.Task{ID: "nobody"}, Owner: "w", Attempt: 1},
		"a lease without owner and attempt": {Task: current.Task},
	} {
		t.Run(name, func(t *testing.T) { s.refused(t, st, l, "a") })
	}
	if lost, err := st.Extend(t.Context(), []*driver.Lease{first, current}); err != nil || len(lost) != 1 || lost[0] != first {
		t.Errorf("Extend of both lost %v, %v", ids(lost), err)
	}
	finish(t, other, current, driver.Outcome{State: jobs.StateSuccess})
}

// refused fails unless all calls with a lease that is not current are refused.
func (s *suite) refused(t *testing.T, st driver.Store, l *driver.Lease, id string) {
	t.Helper()
	ctx := t.Context()
	before := get(t, st, id)
	next := []jobs.NewTask{task("next-of-a-lost-lease")}
	for _, state := range []jobs.State{jobs.StateSuccess, jobs.StateFailed, jobs.StateRetrying, jobs.StateCancelled, jobs.StateDead} {
		err := st.Finish(ctx, l, driver.Outcome{State: state, Result: json.RawMessage(`1`), Error: "x", RetryAt: time.Now(), Next: next})
		wantError(t, "Finish "+string(state), err, jobs.ErrLeaseLost)
	}
	wantError(t, "Progress", st.Progress(ctx, l, 77, "stale"), jobs.ErrLeaseLost)
	wantError(t, "Release", st.Release(ctx, l), jobs.ErrLeaseLost)
	if lost, err := st.Extend(ctx, []*driver.Lease{l}); err != nil || len(lost) != 1 || lost[0] != l {
		t.Errorf("Extend lost %v, %v", ids(lost), err)
	}
	if lost, err := st.Held(ctx, []*driver.Lease{l}); err != nil || len(lost) != 1 || lost[0] != l {
		t.Errorf("Held lost %v, %v", ids(lost), err)
	}
	wantSame(t, st, before)
	_, err := st.Get(ctx, next[0].ID)
	wantError(t, "Get of a lost lease's next task", err, jobs.ErrNotFound)
}

func (s *suite) ended(t *testing.T) {
	for _, state := range []jobs.State{jobs.StateSuccess, jobs.StateFailed, jobs.StateRetrying, jobs.StateCancelled, jobs.StateDead} {
		t.Run(string(state), func(t *testing.T) {
			st := s.handle(t)
			enqueue(t, st, task("a"))
			l := leaseOne(t, st, "w")
			finish(t, st, l, driver.Outcome{State: state, Error: "why", RetryAt: time.Now().Add(time.Hour)})
			s.refused(t, st, l, "a")
		})
	}
}

func (s *suite) releases(t *testing.T) {
	st, other := s.handle(t), s.handle(t)
	enqueue(t, st, task("a"))
	// The lease is released more than MaxLost times, but not counted as lost.
	for i := range s.MaxLost + 2 {
		l := leaseOne(t, st, "w")
		if l.Attempt != i+1 {
			t.Fatalf("round %d: leased attempt %d", i, l.Attempt)
		}
		if err := other.Release(t.Context(), l); err != nil {
			t.Fatal(err)
		}
		if got := wantState(t, st, "a", jobs.StateQueued); len(got.Failures) > 0 || got.Error != "" {
			t.Fatalf("released task is %+v", got)
		}
		s.refused(t, st, l, "a")
	}
	// Therefore the next lease is the first lost one.
	leaseOne(t, st, "w")
	if _, err := st.Reclaim(t.Context(), "w"); err != nil {
		t.Fatal(err)
	}
	wantState(t, st, "a", jobs.StateQueued)
}

func (s *suite) releaseKeepsPlace(t *testing.T) {
	st := s.handle(t)
	for _, id := range []string{"a", "b", "c"} {
		enqueue(t, st, task(id))
	}
	l := lease(t, st, by("w", 2))
	for i := range l { // in reverse order
		if err := st.Release(t.Context(), l[len(l)-1-i]); err != nil {
			t.Fatal(err)
		}
	}
	if got := ids(lease(t, st, by("w", 3))); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("then leased %v", got)
	}
}

func (s *suite) progressCleared(t *testing.T) {
	st := s.handle(t)
	enqueue(t, st, task("a"))
	l := leaseOne(t, st, "w")
	if err := st.Progress(t.Context(), l, 40, "läuft"); err != nil {
		t.Fatal(err)
	}
	if got := get(t, st, "a"); got.Progress != 40 || got.Note != "läuft" || got.Version <= l.Task.Version {
		t.Errorf("task is %+v", got)
	}
	finish(t, st, l, driver.Outcome{State: jobs.StateRetrying, Error: "again", RetryAt: time.Now()})
	if l = leaseOne(t, st, "w"); l.Task.Progress != 0 || l.Task.Note != "" {
		t.Errorf("second attempt begins at %d, %q", l.Task.Progress, l.Task.Note)
	}
}
