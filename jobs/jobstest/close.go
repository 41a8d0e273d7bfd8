package jobstest

import (
	"testing"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
)

var closeChecks = []check{
	{"a closed store is unavailable", (*suite).closed},
	{"closing a store ends waiting calls", (*suite).closeEndsWaiting},
	{"leases stay valid after their store handle is closed", (*suite).leasesOutlive},
}

func (s *suite) closed(t *testing.T) {
	st, other := s.open(t, s.options()), s.handle(t)
	enqueue(t, other, task("a"))
	l := leaseOne(t, other, "w")
	before := get(t, other, "a")
	for range 2 {
		if err := st.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	ctx := t.Context()
	for what, call := range map[string]func() error{
		"Enqueue": func() error { _, _, err := st.Enqueue(ctx, task("b")); return err },
		"EnqueueGroup": func() error {
			_, err := st.EnqueueGroup(ctx, jobs.NewGroup{ID: "g", Members: []jobs.NewTask{task("c")}})
			return err
		},
		"Group":    func() error { _, err := st.Group(ctx, "g"); return err },
		"Depth":    func() error { _, err := st.Depth(ctx); return err },
		"Get":      func() error { _, err := st.Get(ctx, "a"); return err },
		"Watch":    func() error { _, err := st.Watch(ctx, "a", before.Version); return err },
		"Lease":    func() error { _, err := st.Lease(ctx, by("w", 1)); return err },
		"Held":     func() error { _, err := st.Held(ctx, []*driver.Lease{l}); return err },
		"List":     func() error { _, err := st.List(ctx, jobs.Query{}); return err },
		"Cancel":   func() error { _, err := st.Cancel(ctx, "a"); return err },
		"Requeue":  func() error { _, err := st.Requeue(ctx, "a"); return err },
		"Extend":   func() error { _, err := st.Extend(ctx, []*driver.Lease{l}); return err },
		"Release":  func() error { return st.Release(ctx, l) },
		"Reclaim":  func() error { _, err := st.Reclaim(ctx, "w"); return err },
		"Progress": func() error { return st.Progress(ctx, l, 1, "") },
		"Finish":   func() error { return st.Finish(ctx, l, driver.Outcome{State: jobs.StateSuccess}) },
	} {
		wantError(t, what, call(), jobs.ErrUnavailable)
	}
	wantSame(t, other, before)
}

func (s *suite) closeEndsWaiting(t *testing.T) {
	st, other := s.open(t, s.options()), s.handle(t)
	was := enqueue(t, other, task("a"))
	r := by("w", 1)
	r.Queues = []string{"empty"}
	ended := make(chan error, 2)
	go func() { _, err := st.Lease(t.Context(), r); ended <- err }()                // ends with Close
	go func() { _, err := st.Watch(t.Context(), "a", was.Version); ended <- err }() // ends with Close
	s.leaseNone(t, other, r)                                                        // until then, the goroutines above have made their calls
	if err := st.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	for range 2 {
		wantError(t, "a waiting call", <-ended, jobs.ErrUnavailable)
	}
}

func (s *suite) leasesOutlive(t *testing.T) {
	st, other := s.open(t, s.options()), s.handle(t)
	enqueue(t, st, task("a"))
	l := leaseOne(t, st, "w")
	if err := st.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	wantState(t, other, "a", jobs.StateRunning)
	if err := other.Progress(t.Context(), l, 5, "through another"); err != nil {
		t.Errorf("Progress: %v", err)
	}
	finish(t, other, l, driver.Outcome{State: jobs.StateSuccess})
}
