package jobstest

import (
	"reflect"
	"testing"
	"time"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
)

var depthChecks = []check{
	{"depth counts the tasks of each queue", (*suite).depths},
	{"an empty store has no queues", (*suite).noDepth},
}

func (s *suite) depths(t *testing.T) {
	st, other := s.handle(t), s.handle(t)
	unknown := task("unknown")
	unknown.Name = "unknown"
	before := time.Now()
	enqueue(t, st, unknown)
	later := task("later")
	later.RunAt = time.Now().Add(time.Hour)
	enqueue(t, st, later)
	enqueueMany(t, st, task("t"), 5)
	elsewhere := task("elsewhere")
	elsewhere.Queue = "b"
	enqueue(t, st, elsewhere)
	leases := lease(t, st, by("w", 3))
	finish(t, st, leases[0], driver.Outcome{State: jobs.StateSuccess})
	finish(t, st, leases[1], driver.Outcome{State: jobs.StateDead, Error: "x"})
	finish(t, st, leaseOne(t, st, "w"), driver.Outcome{State: jobs.StateRetrying, Error: "x", RetryAt: time.Now().Add(time.Hour)})

	got, err := other.Depth(t.Context())
	if err != nil || len(got) != 2 {
		t.Fatalf("Depth = %+v, %v", got, err)
	}
	for i := range got {
		if d := got[i].Oldest; d <= 0 || d > time.Since(before)+5*time.Millisecond {
			t.Errorf("oldest task of %s: age %v; want at most %v", got[i].Queue, d, time.Since(before))
		}
		got[i].Oldest = 0
	}
	want := []driver.Depth{
		{Queue: "b", Waiting: 1},
		{Queue: jobs.DefaultQueue, Waiting: 2, Scheduled: 2, Running: 1, Dead: 1},
	}
	// Waiting: one task of enqueueMany, and the task with the unknown name.
	// Scheduled: the task later, and the retrying task.
	if !reflect.DeepEqual(got, want) {
		t.Errorf("Depth is %+v\n    want %+v", got, want)
	}
}

func (s *suite) noDepth(t *testing.T) {
	if got, err := s.handle(t).Depth(t.Context()); err != nil || len(got) != 0 {
		t.Errorf("Depth = %+v, %v", got, err)
	}
}
