package jobstest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
)

var leaseChecks = []check{
	{"a lease starts an attempt", (*suite).beginsAttempt},
	{"first in, first out", (*suite).fifo},
	{"the task that became due first is leased first", (*suite).oldestFirst},
	{"queues are served in order of priority", (*suite).priority},
	{"a worker gets only tasks that it can run", (*suite).names},
	{"Lease returns no more than Max tasks", (*suite).max},
	{"a task is leased by one of many workers", (*suite).oneOfMany},
	{"a waiting Lease returns a task that another handle accepts", (*suite).leaseWakes},
	{"Lease ends with its context", (*suite).leaseEnds},
}

func (s *suite) beginsAttempt(t *testing.T) {
	st, other := s.handle(t), s.handle(t)
	was := enqueue(t, st, task("a"))
	before := time.Now()
	l := leaseOne(t, other, "box/worker.0")
	got := get(t, st, "a")
	if l.Owner != "box/worker.0" || l.Attempt != 1 || l.Task.Attempts != 1 {
		t.Errorf("lease is %+v", l)
	}
	if got.State != jobs.StateRunning || got.Worker != l.Owner || got.Attempts != 1 || got.Progress != 0 || got.Version <= was.Version {
		t.Errorf("task is %+v", got)
	}
	if got.Started == nil || got.Started.Sub(before) < -2*time.Millisecond || got.Finished != nil {
		t.Errorf("started %v, finished %v, leased at %v", got.Started, got.Finished, before)
	}
	if l.Task.State != got.State || l.Task.Version != got.Version || !l.Task.Started.Equal(*got.Started) {
		t.Errorf("lease has %+v\n store has %+v", l.Task, got)
	}
}

func (s *suite) fifo(t *testing.T) {
	st := s.handle(t)
	var want []string
	for i := range 20 {
		want = append(want, fmt.Sprint("t", 20-i)) // not in order of the ids
		enqueue(t, st, task(want[i]))
	}
	var got []string
	for len(got) < len(want) {
		got = append(got, ids(lease(t, st, by("w", 3)))...)
	}
	if !slices.Equal(got, want) {
		t.Errorf("leased %v\n  want %v", got, want)
	}
}

func (s *suite) oldestFirst(t *testing.T) {
	st := s.handle(t)
	base := time.Now().Add(200 * time.Millisecond)
	for id, in := range map[string]time.Duration{"2nd": 2, "3rd": 3, "1st": 1} {
		n := task(id)
		n.RunAt = base.Add(in * 20 * time.Millisecond)
		enqueue(t, st, n)
	}
	testutil.Eventually(t, "all are due", func() bool { return time.Since(base) > 80*time.Millisecond })
	want := []string{"1st", "2nd", "3rd"}
	if got := ids(lease(t, st, by("w", 3))); !slices.Equal(got, want) {
		t.Errorf("leased %v, want %v", got, want)
	}
}

func (s *suite) priority(t *testing.T) {
	st := s.handle(t)
	for _, id := range []string{"low-1", "mid-1", "high-1", "low-2", "high-2", "mid-2"} {
		n := task(id)
		n.Queue = id[:len(id)-2]
		enqueue(t, st, n)
	}
	other := task("elsewhere")
	other.Queue = "not asked for"
	enqueue(t, st, other)

	r := by("w", 5)
	r.Queues = []string{"high", "mid", "low"}
	got := ids(lease(t, st, r))
	if want := []string{"high-1", "high-2", "mid-1", "mid-2", "low-1"}; !slices.Equal(got, want) {
		t.Errorf("leased %v, want %v", got, want)
	}
	if got := lease(t, st, r); len(got) != 1 || got[0].Task.ID != "low-2" {
		t.Errorf("then leased %v", ids(got))
	}
	s.leaseNone(t, st, r)
}

func (s *suite) names(t *testing.T) {
	st := s.handle(t)
	for _, id := range []string{"x-1", "y-1", "z-1", "x-2"} {
		n := task(id)
		n.Name = id[:1]
		enqueue(t, st, n)
	}
	r := by("w", 10)
	r.Names = []string{"z", "x", "unused"}
	got := ids(lease(t, st, r))
	if want := []string{"x-1", "z-1", "x-2"}; !slices.Equal(got, want) {
		t.Errorf("leased %v, want %v", got, want)
	}
	s.leaseNone(t, st, r)
	r.Names = []string{"y"}
	if got := ids(lease(t, st, r)); !slices.Equal(got, []string{"y-1"}) {
		t.Errorf("the worker with the name y leased %v", got)
	}
}

func (s *suite) max(t *testing.T) {
	st := s.handle(t)
	enqueueMany(t, st, task("t"), 7)
	for _, want := range []int{3, 3, 1} {
		if got := lease(t, st, by("w", 3)); len(got) != want {
			t.Errorf("leased %d, want %d", len(got), want)
		}
	}
}

func (s *suite) oneOfMany(t *testing.T) {
	const tasks, leasers = 500, 8
	handles := []driver.Store{s.handle(t), s.handle(t)}
	enqueueMany(t, handles[0], task("t"), tasks)

	test := t.Context()
	ctx, cancel := context.WithCancelCause(test)
	defer cancel(nil)
	var mu sync.Mutex
	taken := map[string]int{}
	var wg sync.WaitGroup
	for i := range leasers {
		wg.Go(func() {
			st := handles[i%2]
			for {
				got, err := st.Lease(ctx, by(fmt.Sprint("w", i), 7))
				if err != nil {
					wantError(t, "Lease", err, errDone)
					return
				}
				mu.Lock()
				for _, l := range got {
					taken[l.Task.ID]++
				}
				if len(taken) == tasks {
					cancel(errDone)
				}
				mu.Unlock()
				for _, l := range got {
					if err := st.Finish(test, l, driver.Outcome{State: jobs.StateSuccess}); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	for id, n := range taken {
		if n != 1 {
			t.Errorf("task %s was leased %d times", id, n)
		}
	}
}

func (s *suite) leaseWakes(t *testing.T) {
	st, other := s.handle(t), s.handle(t)
	got := make(chan *driver.Lease, 1)
	go func() { got <- leaseSoon(t, st) }() // ends when it has a lease, or after patience
	s.leaseNone(t, other, by("x", 1))       // until then, the goroutine above has called Lease
	id := "t"
	enqueue(t, other, task(id))
	accepted := time.Now()
	l := <-got
	if l == nil || l.Task.ID != id {
		t.Fatalf("leased %v", l)
	}
	late := time.Since(accepted)
	finish(t, st, l, driver.Outcome{State: jobs.StateSuccess})
	wantLate(t, "the lease of a new task", late)
}

func (s *suite) leaseEnds(t *testing.T) {
	st := s.handle(t)
	ended, cancel := context.WithCancelCause(t.Context())
	cancel(errDone)
	if _, err := st.Lease(ended, by("w", 1)); !errors.Is(err, errDone) {
		t.Errorf("with a context that has ended: %v, want its cause", err)
	}
	s.leaseNone(t, st, by("w", 1)) // a Lease that ends meanwhile

	enqueue(t, st, task("a"))
	if _, err := st.Lease(ended, by("w", 1)); !errors.Is(err, errDone) {
		t.Errorf("with a context that has ended and a task: %v, want its cause", err)
	}
	leaseOne(t, st, "w")
}
