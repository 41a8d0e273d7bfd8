package jobstest

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
)

var remoteChecks = []check{
	{"End may be repeated and changes nothing the second time", (*suite).endTwice},
	{"End remembers its lease while later attempts run", (*suite).endRemembered},
	{"End refuses a lease that another call has ended", (*suite).endLost},
	{"concurrent calls of End with one lease end it once", (*suite).endOnce},
	{"a lost attempt counts towards dead, and the others of its owner do not", (*suite).endAsLost},
	{"a released attempt is due at its time and counts for nothing", (*suite).endReleased},
	{"an invalid ending is refused", (*suite).endInvalid},
	{"ReleaseOthers releases what the worker does not know", (*suite).releaseOthers},
}

func end(t *testing.T, st driver.Store, l *driver.Lease, e driver.Ending, want jobs.State, wantAgain bool) {
	t.Helper()
	ended, err := st.End(t.Context(), l, e)
	if err != nil || ended.State != want || ended.Again != wantAgain {
		t.Fatalf("End %s of %s as %s: %q, %v, %v; want %q, %v", l.Owner, l.Task.ID, e.Kind, ended.State, ended.Again, err, want, wantAgain)
	}
	if ended.Task == nil || ended.Task.ID != l.Task.ID {
		t.Fatalf("End of %s returns %+v", l.Task.ID, ended.Task)
	}
}

func finished(o driver.Outcome) driver.Ending {
	return driver.Ending{Kind: driver.EndFinished, Outcome: func(*jobs.Task) (driver.Outcome, error) { return o, nil }}
}

func (s *suite) endTwice(t *testing.T) {
	st, other := s.handle(t), s.handle(t)
	for _, o := range []driver.Outcome{
		{State: jobs.StateSuccess, Result: json.RawMessage(`1`), Next: []jobs.NewTask{task("next")}},
		{State: jobs.StateFailed, Error: "broken"},
		{State: jobs.StateRetrying, Error: "broken", RetryAt: time.Now().Add(time.Hour)},
	} {
		id := string(o.State)
		enqueue(t, st, task(id))
		l := leaseOne(t, st, "w")
		end(t, st, l, finished(o), o.State, false)
		before := wantState(t, other, id, o.State)
		// The state of the first call counts, also if the second one has another outcome.
		end(t, other, l, finished(driver.Outcome{State: jobs.StateFailed, Error: "other"}), o.State, true)
		end(t, other, l, driver.Ending{Kind: driver.EndLost}, o.State, true)
		end(t, st, l, driver.Ending{Kind: driver.EndReleased}, o.State, true)
		wantSame(t, st, before)
		if want := []jobs.EndedLease{{Attempt: 1, Owner: "w", State: o.State}}; !slices.Equal(before.Ended, want) {
			t.Errorf("ended by %v, want %v", before.Ended, want)
		}
		if o.State == jobs.StateSuccess {
			finish(t, st, leaseOne(t, st, "w"), driver.Outcome{State: jobs.StateSuccess}) // next
		}
	}
}

func (s *suite) endRemembered(t *testing.T) {
	st, other := s.handle(t), s.handle(t)
	enqueue(t, st, task("a"))
	var all []*driver.Lease
	for i := range driver.MaxEnded + 1 {
		l := leaseOne(t, st, fmt.Sprint("session ", i))
		all = append(all, l)
		end(t, st, l, driver.Ending{Kind: driver.EndReleased}, jobs.StateQueued, false)
	}
	last := leaseOne(t, other, "other")
	before := get(t, st, "a")
	for _, l := range all[1:] {
		end(t, other, l, finished(driver.Outcome{State: jobs.StateSuccess}), jobs.StateQueued, true)
	}
	_, err := st.End(t.Context(), all[0], finished(driver.Outcome{State: jobs.StateSuccess}))
	wantError(t, "End with the oldest lease", err, jobs.ErrLeaseLost)
	wantSame(t, st, before)
	end(t, st, last, finished(driver.Outcome{State: jobs.StateSuccess}), jobs.StateSuccess, false)
}

func (s *suite) endLost(t *testing.T) {
	st := s.handle(t)
	for _, id := range []string{"finished", "released", "cancelled", "reclaimed"} {
		enqueue(t, st, task(id))
		l := leaseOne(t, st, "w")
		var err error
		switch id {
		case "finished":
			err = st.Finish(t.Context(), l, driver.Outcome{State: jobs.StateSuccess})
		case "released":
			err = st.Release(t.Context(), l)
		case "cancelled":
			_, err = st.Cancel(t.Context(), id)
		case "reclaimed":
			_, err = st.Reclaim(t.Context(), "w")
		}
		if err != nil {
			t.Fatal(err)
		}
		before := get(t, st, id)
		for _, e := range []driver.Ending{finished(driver.Outcome{State: jobs.StateSuccess}), {Kind: driver.EndLost}, {Kind: driver.EndReleased}} {
			_, err := st.End(t.Context(), l, e)
			wantError(t, id+", "+string(e.Kind), err, jobs.ErrLeaseLost)
		}
		wantSame(t, st, before)
		if !before.State.Final() {
			finish(t, st, leaseOne(t, st, "w"), driver.Outcome{State: jobs.StateSuccess})
		}
	}
	gone := &driver.Lease{Task: &jobs.Task{ID: "never"}, Owner: "w", Attempt: 1}
	_, err := st.End(t.Context(), gone, driver.Ending{Kind: driver.EndLost})
	wantError(t, "End of a task that does not exist", err, jobs.ErrLeaseLost)
}

func (s *suite) endOnce(t *testing.T) {
	handles := []driver.Store{s.handle(t), s.handle(t)}
	enqueue(t, handles[0], task("a"))
	l := leaseOne(t, handles[0], "w")
	type reply struct {
		again bool
		err   error
	}
	const callers = 8
	replies := make(chan reply, callers)
	for i := range callers {
		go func() { // ends with End; the reply is received below
			ended, err := handles[i%2].End(t.Context(), l, finished(driver.Outcome{
				State: jobs.StateSuccess, Next: []jobs.NewTask{{ID: fmt.Sprint("next-", i), Name: "next"}},
			}))
			replies <- reply{ended.Again, err}
		}()
	}
	first := 0
	for range callers {
		if r := <-replies; r.err != nil {
			t.Error(r.err)
		} else if !r.again {
			first++
		}
	}
	accepted := 0
	for i := range callers {
		if _, err := handles[1].Get(t.Context(), fmt.Sprint("next-", i)); err == nil {
			accepted++
		}
	}
	if first != 1 || accepted != 1 {
		t.Errorf("%d calls ended the attempt, with %d next tasks", first, accepted)
	}
}

func (s *suite) endAsLost(t *testing.T) {
	st := s.handle(t)
	enqueue(t, st, task("killer"))
	for i := range s.MaxLost {
		l := leaseOne(t, st, "w")
		if i == 0 {
			enqueue(t, st, task("bystander"))
		}
		want := jobs.StateQueued
		if i == s.MaxLost-1 {
			want = jobs.StateDead
		}
		var beside *driver.Lease
		if i == 0 {
			beside = leaseOne(t, st, "w")
		}
		end(t, st, l, driver.Ending{Kind: driver.EndLost}, want, false)
		end(t, st, l, driver.Ending{Kind: driver.EndLost}, want, true)
		if beside != nil {
			end(t, st, beside, finished(driver.Outcome{State: jobs.StateSuccess}), jobs.StateSuccess, false)
		}
	}
	got := wantState(t, st, "killer", jobs.StateDead)
	if got.Attempts != s.MaxLost || !strings.Contains(got.Error, "lost") {
		t.Errorf("task is %+v", got)
	}
	s.leaseNone(t, st, by("w", 1))
}

func (s *suite) endReleased(t *testing.T) {
	st := s.handle(t)
	enqueue(t, st, task("far"))
	far := time.Now().Add(time.Hour)
	end(t, st, leaseOne(t, st, "w"), driver.Ending{Kind: driver.EndReleased, At: far}, jobs.StateScheduled, false)
	got := wantState(t, st, "far", jobs.StateScheduled)
	if got.RunAt.Sub(far).Abs() > 2*time.Millisecond || len(got.Failures) != 0 || got.Error != "" {
		t.Errorf("task is %+v", got)
	}
	enqueue(t, st, task("a"))
	first, at := leaseOne(t, st, "w"), time.Now().Add(2*shortly)
	// On a busy machine the time may have come already.
	if ended, err := st.End(t.Context(), first, driver.Ending{Kind: driver.EndReleased, At: at}); err != nil || ended.State != jobs.StateScheduled && ended.State != jobs.StateQueued {
		t.Fatalf("End: %s, %v", ended.State, err)
	}
	l := leaseOne(t, st, "w")
	wantNotBefore(t, l, at)
	for range s.MaxLost + 1 { // released attempts do not make a task dead
		end(t, st, l, driver.Ending{Kind: driver.EndReleased}, jobs.StateQueued, false)
		l = leaseOne(t, st, "w")
	}
	// A task keeps its place when it is released.
	enqueue(t, st, task("later"))
	end(t, st, l, driver.Ending{Kind: driver.EndReleased, At: time.Now().Add(-time.Hour)}, jobs.StateQueued, false)
	if got := ids(lease(t, st, by("w", 2))); !slices.Equal(got, []string{"a", "later"}) {
		t.Errorf("leased %v", got)
	}
}

func (s *suite) endInvalid(t *testing.T) {
	st := s.handle(t)
	enqueue(t, st, task("a"))
	l := leaseOne(t, st, "w")
	before := get(t, st, "a")
	for _, e := range []driver.Ending{{}, {Kind: "stopped"}, finished(driver.Outcome{State: jobs.StateQueued}), finished(driver.Outcome{State: jobs.StateSuccess, Result: json.RawMessage(`{`)})} {
		if _, err := st.End(t.Context(), l, e); err == nil {
			t.Errorf("End accepted %+v", e)
		}
	}
	wantSame(t, st, before)
}

func (s *suite) releaseOthers(t *testing.T) {
	st, other := s.handle(t), s.handle(t)
	for i := range 4 {
		enqueue(t, st, task(fmt.Sprint("t", i)))
	}
	held := lease(t, st, by("w", 3))
	foreign := leaseOne(t, st, "x")
	n, err := other.ReleaseOthers(t.Context(), "w", held[1:2])
	if err != nil || n != 2 {
		t.Fatalf("released %d, %v", n, err)
	}
	if lost, err := st.Held(t.Context(), append(held, foreign)); err != nil || !slices.Equal(ids(lost), []string{"t0", "t2"}) {
		t.Errorf("lost %v, %v", ids(lost), err)
	}
	if got := get(t, st, "t0"); got.State != jobs.StateQueued || len(got.Failures) != 0 {
		t.Errorf("task is %+v", got)
	}
	// Another attempt of the same owner is not the lease that is kept.
	again := lease(t, st, by("w", 2))
	old := &driver.Lease{Task: again[0].Task, Owner: "w", Attempt: again[0].Attempt - 1}
	if n, err := st.ReleaseOthers(t.Context(), "w", []*driver.Lease{old, again[1], held[1]}); n != 1 || err != nil {
		t.Errorf("released %d, %v", n, err)
	}
	if n, err := st.ReleaseOthers(t.Context(), "nobody", nil); n != 0 || err != nil {
		t.Errorf("released %d of an unknown owner, %v", n, err)
	}
}
