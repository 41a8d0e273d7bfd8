package jobstest

import (
	"fmt"
	"testing"
	"time"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
)

var scheduleChecks = []check{
	{"a scheduled task is leased at its time", (*suite).atItsTime},
	{"a thousand scheduled tasks are leased, none before its time", (*suite).thousand},
	{"a scheduled task that is due reads as queued", (*suite).readsQueued},
	{"a Lease that waits for a later task returns a new task that is due earlier", (*suite).overtakes},
}

func (s *suite) atItsTime(t *testing.T) {
	st, other := s.handle(t), s.handle(t)
	for _, in := range []time.Duration{50, 333, 500} {
		n := task(fmt.Sprint("in-", int(in)))
		n.RunAt = time.Now().Add(in * time.Millisecond)
		if got := enqueue(t, other, n); got.State != jobs.StateScheduled && time.Now().Before(n.RunAt) {
			t.Errorf("state %s before its time", got.State)
		}
		l := leaseOne(t, st, "w")
		late := time.Since(n.RunAt)
		wantNotBefore(t, l, n.RunAt)
		finish(t, st, l, driver.Outcome{State: jobs.StateSuccess})
		wantLate(t, "the lease", late)
	}
}

// wantNotBefore fails if an attempt started before its task was due. A store may have a
// resolution of a millisecond.
func wantNotBefore(t *testing.T, l *driver.Lease, due time.Time) {
	t.Helper()
	if l.Task.Started.Before(due.Truncate(time.Millisecond)) {
		t.Errorf("%s started %v, due %v", l.Task.ID, l.Task.Started, due)
	}
}

func (s *suite) thousand(t *testing.T) {
	const tasks = 1000
	st, other := s.handle(t), s.handle(t)
	one := task("t")
	one.RunAt = time.Now().Add(2 * time.Second)
	enqueueMany(t, other, one, tasks)
	r := by("w", tasks)
	seen := map[string]bool{}
	for len(seen) < tasks {
		for _, l := range lease(t, st, r) {
			wantNotBefore(t, l, one.RunAt)
			seen[l.Task.ID] = true
		}
	}
	wantLate(t, "the last of the leases", time.Since(one.RunAt))
}

func (s *suite) readsQueued(t *testing.T) {
	st := s.handle(t)
	n := task("t")
	n.RunAt = time.Now().Add(200 * time.Millisecond)
	enqueue(t, st, n)
	var late time.Duration
	testutil.Eventually(t, "the task reads as queued", func() bool {
		got := get(t, st, n.ID)
		late = time.Since(n.RunAt)
		if got.State != jobs.StateQueued && got.State != jobs.StateScheduled {
			t.Fatalf("state %s", got.State)
		}
		return got.State == jobs.StateQueued
	})
	wantLate(t, "the change to queued", late)
}

func (s *suite) overtakes(t *testing.T) {
	st, other := s.handle(t), s.handle(t)
	far := task("far")
	far.RunAt = time.Now().Add(time.Hour)
	enqueue(t, other, far)
	got := make(chan *driver.Lease, 1)
	go func() { got <- leaseSoon(t, st) }() // ends when it has a lease, or after patience
	s.leaseNone(t, other, by("x", 1))       // until then, the goroutine above has called Lease
	near := task("near")
	near.RunAt = time.Now().Add(150 * time.Millisecond)
	enqueue(t, other, near)
	l := <-got
	late := time.Since(near.RunAt)
	if l == nil || l.Task.ID != near.ID {
		t.Fatalf("leased %v", l)
	}
	wantNotBefore(t, l, near.RunAt)
	finish(t, st, l, driver.Outcome{State: jobs.StateSuccess})
	wantLate(t, "the lease", late)
}
