package jobstest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
)

var watchChecks = []check{
	{"Watch returns at once if the task has a newer version", (*suite).watchNewer},
	{"Watch returns every change, by any handle", (*suite).watchSteps},
	{"only the watchers of a changed task are woken", (*suite).watchMany},
	{"Watch ends with its context", (*suite).watchEnds},
}

func (s *suite) watchNewer(t *testing.T) {
	st := s.handle(t)
	was := enqueue(t, st, task("a"))
	for _, after := range []int64{-1, 0, was.Version - 1} {
		if got, err := st.Watch(t.Context(), "a", after); err != nil || got.Version != was.Version {
			t.Errorf("Watch after %d = %+v, %v", after, got, err)
		}
	}
}

func (s *suite) watchSteps(t *testing.T) {
	for _, from := range []string{"another handle", "the same"} {
		t.Run(from, func(t *testing.T) {
			st := s.handle(t)
			other := st
			if from != "the same" {
				other = s.handle(t)
			}
			wantLate(t, "a step", s.watchLife(t, st, other, "t"))
		})
	}
}

// watchLife watches a task from its acceptance to its end, and returns the longest delay
// after which Watch returned a change.
func (s *suite) watchLife(t *testing.T, st, other driver.Store, id string) (late time.Duration) {
	last := enqueue(t, st, task(id))
	var l *driver.Lease
	ctx := t.Context()
	for _, step := range []struct {
		what string
		do   func() error
		want func(*jobs.Task) bool
	}{
		{"the lease", func() error { l = leaseOne(t, other, "w"); return nil }, func(t *jobs.Task) bool { return t.State == jobs.StateRunning }},
		{"progress", func() error { return other.Progress(ctx, l, 10, "one") }, func(t *jobs.Task) bool { return t.Note == "one" }},
		{"more progress", func() error { return other.Progress(ctx, l, 20, "two") }, func(t *jobs.Task) bool { return t.Progress == 20 }},
		{"release", func() error { return other.Release(ctx, l) }, func(t *jobs.Task) bool { return t.State == jobs.StateQueued }},
		{"the next lease", func() error { l = leaseOne(t, other, "w"); return nil }, func(t *jobs.Task) bool { return t.State == jobs.StateRunning }},
		{"reclaim", func() error { _, err := other.Reclaim(ctx, "w"); return err }, func(t *jobs.Task) bool { return t.State == jobs.StateQueued }},
		{"the last lease", func() error { l = leaseOne(t, other, "w"); return nil }, func(t *jobs.Task) bool { return t.Attempts == 3 }},
		{"the end", func() error { return other.Finish(ctx, l, driver.Outcome{State: jobs.StateSuccess}) }, func(t *jobs.Task) bool { return t.State == jobs.StateSuccess }},
	} {
		got := make(chan *jobs.Task, 1)
		go func() { got <- watchSoon(t, st, last) }() // ends with the change, or after patience
		if err := step.do(); err != nil {
			t.Fatalf("%s: %v", step.what, err)
		}
		done := time.Now()
		next := <-got
		late = max(late, time.Since(done))
		if next == nil || !step.want(next) || next.Version <= last.Version {
			t.Fatalf("after %s the task is %+v", step.what, next)
		}
		last = next
	}
	return late
}

// watchSoon waits for a newer version of a task, and returns nil after patience.
func watchSoon(t *testing.T, st driver.Store, last *jobs.Task) *jobs.Task {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	next, err := st.Watch(ctx, last.ID, last.Version)
	if err != nil {
		t.Errorf("Watch: %v", err)
	}
	return next
}

func (s *suite) watchMany(t *testing.T) {
	const tasks, watchers = 200, 400 // two for each task
	st, other := s.handle(t), s.handle(t)
	one := due("t")
	one.Name = one.ID
	enqueueMany(t, other, one, tasks)
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	woken := make(chan string, watchers)
	var wg sync.WaitGroup
	for i := range watchers {
		was := get(t, st, fmt.Sprintf("%s-%04d", one.ID, i%tasks))
		wg.Go(func() {
			if _, err := st.Watch(ctx, was.ID, was.Version); err == nil {
				woken <- was.ID
			} else {
				wantError(t, "Watch", err, errDone)
			}
		})
	}
	changed := map[string]int{}
	for _, l := range lease(t, other, driver.LeaseRequest{Owner: "w", Queues: []string{"default"}, Names: []string{one.Name}, Max: 50}) {
		changed[l.Task.ID] = 2
	}
	done := time.Now()
	for range 2 * len(changed) {
		select {
		case id := <-woken:
			if changed[id]--; changed[id] < 0 {
				t.Errorf("Watch of %s returned although it had not changed", id)
			}
		case <-time.After(patience):
			t.Fatal("not all watchers of changed tasks were woken")
		}
	}
	late := time.Since(done)
	cancel(errDone)
	wg.Wait()
	if len(woken) > 0 {
		t.Errorf("%d watchers of unchanged tasks were woken", len(woken))
	}
	wantLate(t, "the last of the watchers", late)
}

func (s *suite) watchEnds(t *testing.T) {
	st := s.handle(t)
	was := enqueue(t, st, task("a"))
	ended, cancel := context.WithCancelCause(t.Context())
	cancel(errDone)
	if _, err := st.Watch(ended, "a", was.Version); !errors.Is(err, errDone) {
		t.Errorf("with a context that has ended: %v, want its cause", err)
	}
	soon, cancelSoon := context.WithTimeoutCause(t.Context(), shortly, errDone)
	defer cancelSoon()
	if _, err := st.Watch(soon, "a", was.Version); !errors.Is(err, errDone) {
		t.Errorf("with a context that ends meanwhile: %v, want its cause", err)
	}
}
