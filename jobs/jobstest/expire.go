package jobstest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
)

var expireChecks = []check{
	{"an expired task is cancelled and never starts", (*suite).expiresWaiting},
	{"an expired task ends even if no worker calls Lease", (*suite).expiresAlone},
	{"a task that has started does not expire", (*suite).expiresNotBegun},
	{"an expired member ends the chord", (*suite).expiresMember},
	{"an expired task can be requeued and does not expire again", (*suite).expiresRequeued},
}

// expiringTask returns a task that expires soon.
func (s *suite) expiringTask(id string) jobs.NewTask {
	n := task(id)
	n.Expires = time.Now().Add(shortly)
	return n
}

func wantExpired(t *testing.T, st driver.Store, id string) *jobs.Task {
	t.Helper()
	got := wantState(t, st, id, jobs.StateCancelled)
	if got.Error != driver.ExpiredReason || got.Finished == nil || got.Attempts != 0 {
		t.Errorf("expired task is %+v", got)
	}
	return got
}

func (s *suite) expiresWaiting(t *testing.T) {
	st, other := s.handle(t), s.handle(t)
	r := by("w", 10)
	r.Queues = []string{"elsewhere"} // Lease for another queue also cancels expired tasks
	later := s.expiringTask("later")
	later.RunAt = time.Now().Add(time.Hour)
	before := enqueue(t, st, s.expiringTask("queued"))
	enqueue(t, st, later)
	stays := task("stays")
	stays.Expires = time.Now().Add(time.Hour)
	enqueue(t, st, stays)
	ctx, cancel := context.WithCancelCause(t.Context())
	ended := make(chan error, 1)
	go func() { // ends with ctx
		_, err := other.Lease(ctx, r)
		ended <- err
	}()
	for _, id := range []string{"queued", "later"} {
		within, stop := context.WithTimeout(t.Context(), patience)
		for after := get(t, st, id); !after.State.Final(); {
			next, err := st.Watch(within, id, after.Version)
			if err != nil {
				t.Fatalf("Watch %s: %v", id, err)
			}
			after = next
		}
		stop()
		if got := wantExpired(t, st, id); id == before.ID && !before.State.Final() && got.Version <= before.Version {
			t.Errorf("version %d after %d", got.Version, before.Version)
		}
	}
	cancel(errDone)
	wantError(t, "Lease", <-ended, errDone)
	if l := leaseOne(t, st, "w"); l.Task.ID != "stays" {
		t.Errorf("leased %s", l.Task.ID)
	}
	s.leaseNone(t, st, by("w", 10))
}

func (s *suite) expiresAlone(t *testing.T) {
	st := s.handle(t)
	enqueue(t, st, s.expiringTask("a"))
	testutil.Eventually(t, "the task has ended", func() bool { return get(t, st, "a").State.Final() })
	wantExpired(t, st, "a")
	if d, err := st.Depth(t.Context()); err != nil || len(d) != 0 {
		t.Errorf("depth is %+v, %v", d, err)
	}
}

func (s *suite) expiresNotBegun(t *testing.T) {
	st := s.handle(t)
	released, past := leaseInTime(t, st, "released")
	if err := st.Release(t.Context(), released); err != nil {
		t.Fatal(err)
	}
	testutil.Eventually(t, "it would have expired", func() bool { return time.Now().After(past) })
	if got := leaseOne(t, st, "w"); got.Task.ID != released.Task.ID || got.Attempt != 2 {
		t.Errorf("leased %+v", got)
	}
	retried, past := leaseInTime(t, st, "retried")
	finish(t, st, retried, driver.Outcome{State: jobs.StateRetrying, Error: "x", RetryAt: past})
	if got := leaseOne(t, st, "w"); got.Task.ID != retried.Task.ID || got.Attempt != 2 {
		t.Errorf("leased %+v", got)
	}
}

// leaseInTime leases a task before its Expires, and returns the lease and Expires. If the
// machine is too slow, it tries again with a later Expires.
func leaseInTime(t *testing.T, st driver.Store, id string) (l *driver.Lease, expires time.Time) {
	t.Helper()
	for in := shortly; in < patience; in *= 2 {
		n := task(fmt.Sprint(id, "-", in))
		expires = time.Now().Add(in)
		n.Expires = expires
		enqueue(t, st, n)
		ctx, cancel := context.WithDeadlineCause(t.Context(), expires, errDone)
		got, err := st.Lease(ctx, by("w", 1))
		cancel()
		if err == nil {
			return got[0], expires
		}
		wantError(t, "Lease", err, errDone)
		testutil.Eventually(t, "the task has ended", func() bool { return get(t, st, n.ID).State != jobs.StateQueued })
		if got := get(t, st, n.ID); got.State == jobs.StateRunning { // leased when the context ended
			return &driver.Lease{Task: got, Owner: got.Worker, Attempt: got.Attempts}, expires
		}
	}
	t.Fatal("no task was leased before it expired")
	return nil, expires
}

func (s *suite) expiresMember(t *testing.T) {
	st := s.handle(t)
	g := chordOf(2)
	g.Members[1] = s.expiringTask("m-1")
	enqueueGroup(t, st, g)
	testutil.Eventually(t, "the member has ended", func() bool { return get(t, st, "m-1").State.Final() })
	s.wantEnded(t, st, "m-1", driver.ExpiredReason)
	if got := group(t, st); got.Failed != 1 || got.FailedMember != "m-1" || got.Error != driver.ExpiredReason {
		t.Errorf("group is %+v", got)
	}
}

func (s *suite) expiresRequeued(t *testing.T) {
	st := s.handle(t)
	enqueue(t, st, s.expiringTask("a"))
	testutil.Eventually(t, "the task has ended", func() bool { return get(t, st, "a").State.Final() })
	if got, err := st.Requeue(t.Context(), "a"); err != nil || got.State != jobs.StateQueued {
		t.Fatalf("Requeue: %+v, %v", got, err)
	}
	if l := leaseOne(t, st, "w"); l.Task.ID != "a" {
		t.Errorf("leased %s", l.Task.ID)
	}
}
