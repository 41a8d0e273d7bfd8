package jobstest

import (
	"reflect"
	"testing"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
)

var pauseChecks = []check{
	{"tasks of a paused queue start when it is resumed", (*suite).pauses},
	{"running tasks of a paused queue continue", (*suite).pausesRunning},
	{"an unused queue can be paused", (*suite).pausesNothing},
}

func (s *suite) pauses(t *testing.T) {
	st, other := s.handle(t), s.handle(t)
	r := by("w", 5)
	r.Queues = []string{"a", "b"}
	for _, q := range []string{"a", "b"} {
		n := task("in-" + q)
		n.Queue = q
		enqueue(t, st, n)
	}
	for range 2 {
		if err := other.Pause(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
	}
	leaseOneOf(t, st, r, "in-b")
	s.leaseNone(t, st, r)
	d, err := st.Depth(t.Context())
	if err != nil || len(d) != 2 || !d[0].Paused || d[0].Waiting != 1 || d[1].Paused {
		t.Errorf("depth is %+v, %v", d, err)
	}
	got := make(chan *driver.Lease, 1)
	go func() { // ends when it has leased, or with the test
		l, err := st.Lease(t.Context(), r)
		if err != nil {
			t.Errorf("Lease: %v", err)
			got <- nil
			return
		}
		got <- l[0]
	}()
	s.leaseNone(t, other, r) // until then, the goroutine above has called Lease
	for range 2 {
		if err := other.Resume(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
	}
	if l := <-got; l == nil || l.Task.ID != "in-a" {
		t.Errorf("leased %+v", l)
	}
}

func (s *suite) pausesRunning(t *testing.T) {
	st := s.handle(t)
	enqueue(t, st, task("runs"))
	enqueue(t, st, task("again"))
	leases := lease(t, st, by("w", 2))
	if err := st.Pause(t.Context(), jobs.DefaultQueue); err != nil {
		t.Fatal(err)
	}
	if lost, err := st.Extend(t.Context(), leases); err != nil || len(lost) != 0 {
		t.Errorf("Extend lost %v, %v", ids(lost), err)
	}
	finish(t, st, leases[0], driver.Outcome{State: jobs.StateSuccess})
	finish(t, st, leases[1], driver.Outcome{State: jobs.StateRetrying, Error: "x"})
	s.leaseNone(t, st, by("w", 2))
	if err := st.Resume(t.Context(), jobs.DefaultQueue); err != nil {
		t.Fatal(err)
	}
	leaseOneOf(t, st, by("w", 2), leases[1].Task.ID)
}

func (s *suite) pausesNothing(t *testing.T) {
	st := s.handle(t)
	if err := st.Pause(t.Context(), "later"); err != nil {
		t.Fatal(err)
	}
	want := []driver.Depth{{Queue: "later", Paused: true}}
	if d, err := st.Depth(t.Context()); err != nil || !reflect.DeepEqual(d, want) {
		t.Errorf("depth is %+v, %v", d, err)
	}
	if err := st.Resume(t.Context(), "later"); err != nil {
		t.Fatal(err)
	}
	if d, err := st.Depth(t.Context()); err != nil || len(d) != 0 {
		t.Errorf("depth is %+v, %v", d, err)
	}
}
