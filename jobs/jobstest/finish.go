package jobstest

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
)

var finishChecks = []check{
	{"a success stores result and artifacts", (*suite).succeeds},
	{"a failed task stores its error", (*suite).fails},
	{"a retrying task waits until RetryAt and keeps all failures", (*suite).retries},
	{"an invalid outcome is refused", (*suite).noOutcome},
	{"next tasks are enqueued with the outcome", (*suite).next},
	{"a next task that exists already is not changed", (*suite).nextTwice},
	{"an attempt finishes once, also with concurrent calls", (*suite).finishOnce},
}

func (s *suite) succeeds(t *testing.T) {
	st, other := s.handle(t), s.handle(t)
	enqueue(t, st, task("a"))
	l := leaseOne(t, st, "w")
	before := time.Now()
	finish(t, st, l, driver.Outcome{State: jobs.StateSuccess, Result: json.RawMessage(`{"größe": 1}`), Artifacts: []string{"x.wav", "ü.txt"}})
	got := wantState(t, other, "a", jobs.StateSuccess)
	if string(got.Result) != `{"größe": 1}` || !slices.Equal(got.Artifacts, []string{"x.wav", "ü.txt"}) || got.Progress != 100 {
		t.Errorf("task is %+v", got)
	}
	if got.Error != "" || len(got.Failures) != 0 || got.Worker != "w" || got.Version <= l.Task.Version {
		t.Errorf("task is %+v", got)
	}
	if got.Finished == nil || got.Finished.Sub(before) < -2*time.Millisecond || got.Finished.Location() != time.UTC {
		t.Errorf("finished %v", got.Finished)
	}

	enqueue(t, st, task("b"))
	finish(t, st, leaseOne(t, st, "w"), driver.Outcome{State: jobs.StateSuccess})
	if got := get(t, other, "b"); got.Result != nil || got.Artifacts == nil || got.Failures == nil {
		t.Errorf("without a result the task is %+v", got)
	}
	s.leaseNone(t, st, by("w", 1))
}

func (s *suite) fails(t *testing.T) {
	for _, state := range []jobs.State{jobs.StateFailed, jobs.StateCancelled, jobs.StateDead} {
		t.Run(string(state), func(t *testing.T) {
			st, other := s.handle(t), s.handle(t)
			enqueue(t, st, task("a"))
			l := leaseOne(t, st, "w")
			if err := st.Progress(t.Context(), l, 30, "reading"); err != nil {
				t.Fatal(err)
			}
			finish(t, st, l, driver.Outcome{State: state, Error: "no such file: größe.mp3", Artifacts: []string{"log.txt"}})
			got := wantState(t, other, "a", state)
			if got.Error != "no such file: größe.mp3" || got.Progress != 30 || got.Finished == nil || got.Result != nil ||
				!slices.Equal(got.Artifacts, []string{"log.txt"}) {
				t.Errorf("task is %+v", got)
			}
			if f := got.Failures; len(f) != 1 || f[0].Error != got.Error || f[0].Attempt != 1 || time.Since(f[0].Time) > patience {
				t.Errorf("failures are %+v", f)
			}
			s.leaseNone(t, st, by("w", 1))
		})
	}
}

func (s *suite) retries(t *testing.T) {
	st, other := s.handle(t), s.handle(t)
	var late time.Duration
	id := "t"
	enqueue(t, st, task(id))
	const failures = 3
	for i := range failures {
		l := leaseOne(t, st, "w")
		at := time.Now().Add(150 * time.Millisecond)
		finish(t, st, l, driver.Outcome{State: jobs.StateRetrying, Error: fmt.Sprint("failure ", i+1), RetryAt: at})
		got := wantState(t, other, id, jobs.StateRetrying)
		if got.Error != fmt.Sprint("failure ", i+1) || got.Finished != nil || got.RunAt.Sub(at).Abs() > 2*time.Millisecond {
			t.Errorf("task is %+v", got)
		}
		next := leaseOne(t, other, "w")
		late = max(late, time.Since(at))
		wantNotBefore(t, next, at)
		if next.Attempt != l.Attempt+1 {
			t.Errorf("attempt %d follows %d", next.Attempt, l.Attempt)
		}
		if err := other.Release(t.Context(), next); err != nil {
			t.Fatal(err)
		}
	}
	finish(t, st, leaseOne(t, st, "w"), driver.Outcome{State: jobs.StateSuccess})
	got := wantState(t, st, id, jobs.StateSuccess)
	if got.Error != "" || len(got.Failures) != failures {
		t.Fatalf("task is %+v", got)
	}
	for i, f := range got.Failures {
		// An attempt was released between every two failures.
		if f.Error != fmt.Sprint("failure ", i+1) || f.Attempt != 2*i+1 {
			t.Errorf("failure %d is %+v", i, f)
		}
	}
	wantLate(t, "the next attempt", late)
}

func (s *suite) noOutcome(t *testing.T) {
	st := s.handle(t)
	enqueue(t, st, task("a"))
	l := leaseOne(t, st, "w")
	before := get(t, st, "a")
	for _, state := range []jobs.State{"", jobs.StateScheduled, jobs.StateQueued, jobs.StateRunning, "finished"} {
		err := st.Finish(t.Context(), l, driver.Outcome{State: state, Next: []jobs.NewTask{task("next")}})
		if err == nil || errors.Is(err, jobs.ErrLeaseLost) || errors.Is(err, jobs.ErrUnavailable) {
			t.Errorf("Finish with state %q: %v; want an error about the state", state, err)
		}
	}
	wantSame(t, st, before)
	_, err := st.Get(t.Context(), "next")
	wantError(t, "Get of the next task", err, jobs.ErrNotFound)
	finish(t, st, l, driver.Outcome{State: jobs.StateSuccess})
}

func (s *suite) next(t *testing.T) {
	st, other := s.handle(t), s.handle(t)
	for _, state := range []jobs.State{jobs.StateSuccess, jobs.StateFailed, jobs.StateRetrying, jobs.StateCancelled, jobs.StateDead} {
		id := string(state)
		enqueue(t, st, task(id))
		l := leaseOne(t, st, "w")
		now, later, large := task(id+"-now"), task(id+"-later"), task(id+"-large")
		later.RunAt, later.Queue = time.Now().Add(time.Hour), "other"
		large.Args = json.RawMessage(`["` + strings.Repeat("x", 1<<17) + `"]`)
		finish(t, st, l, driver.Outcome{State: state, Error: "x", RetryAt: time.Now().Add(time.Hour), Next: []jobs.NewTask{now, later, large}})

		wantState(t, other, id, state)
		wantState(t, other, later.ID, jobs.StateScheduled)
		leased := lease(t, other, by("w", 3))
		if got := ids(leased); !slices.Equal(got, []string{now.ID, large.ID}) {
			t.Errorf("after %s leased %v", state, got)
		}
		for _, l := range leased { // otherwise they are due again when their leases expire
			finish(t, other, l, driver.Outcome{State: jobs.StateSuccess})
		}
		if got := get(t, st, large.ID); string(got.Args) != string(large.Args) {
			t.Errorf("%d bytes of arguments, want %d", len(got.Args), len(large.Args))
		}
	}
}

func (s *suite) nextTwice(t *testing.T) {
	st := s.handle(t)
	enqueue(t, st, task("a"))
	l := leaseOne(t, st, "w")
	enqueue(t, st, task("next"))
	finish(t, st, leaseOne(t, st, "w"), driver.Outcome{State: jobs.StateSuccess, Result: json.RawMessage(`1`)})
	before := get(t, st, "next")
	again := jobs.NewTask{ID: "next", Name: "other"}
	finish(t, st, l, driver.Outcome{State: jobs.StateSuccess, Next: []jobs.NewTask{again, task("new"), task("new")}})
	wantSame(t, st, before)
	wantState(t, st, "a", jobs.StateSuccess)
	if got := ids(lease(t, st, by("w", 5))); !slices.Equal(got, []string{"new"}) {
		t.Errorf("leased %v", got)
	}
}

func (s *suite) finishOnce(t *testing.T) {
	handles := []driver.Store{s.handle(t), s.handle(t)}
	for round := range 10 {
		id := fmt.Sprint("t", round)
		enqueue(t, handles[0], task(id))
		l := leaseOne(t, handles[0], "w")
		const callers = 8
		errs := make(chan error, callers)
		for i := range callers {
			go func() { // ends with Finish; the error is received below
				errs <- handles[i%2].Finish(t.Context(), l, driver.Outcome{
					State: jobs.StateSuccess, Result: json.RawMessage(fmt.Sprint(i)),
					Next: []jobs.NewTask{{ID: fmt.Sprint(id, "-next-", i), Name: "next"}},
				})
			}()
		}
		won := 0
		for range callers {
			if err := <-errs; err == nil {
				won++
			} else {
				wantError(t, "Finish", err, jobs.ErrLeaseLost)
			}
		}
		accepted := 0
		for i := range callers {
			if _, err := handles[1].Get(t.Context(), fmt.Sprint(id, "-next-", i)); err == nil {
				accepted++
			}
		}
		if won != 1 || accepted != 1 {
			t.Errorf("round %d: finished %d times, with %d next tasks", round, won, accepted)
		}
	}
}
