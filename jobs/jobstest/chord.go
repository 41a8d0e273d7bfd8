package jobstest

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
)

var chordChecks = []check{
	{"a chord of a hundred runs its callback once, with a hundred results", (*suite).hundredSucceed},
	{"a chord of a hundred names the member that failed", (*suite).hundredFail},
}

// hundred enqueues a chord of a hundred members and leases all of them.
func (s *suite) hundred(t *testing.T, st driver.Store) []*driver.Lease {
	t.Helper()
	callback := task("callback")
	g := jobs.NewGroup{ID: "g", Callback: &callback}
	for i := range 100 {
		g.Members = append(g.Members, task(fmt.Sprintf("m%02d", i)))
	}
	if _, err := st.EnqueueGroup(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	var all []*driver.Lease
	for len(all) < 100 {
		all = append(all, lease(t, st, by("w", 100-len(all)))...)
	}
	return all
}

func (s *suite) hundredSucceed(t *testing.T) {
	st, other := s.handle(t), s.handle(t)
	for i, l := range s.hundred(t, st) {
		finish(t, []driver.Store{st, other}[i%2], l, driver.Outcome{State: jobs.StateSuccess, Result: fmt.Appendf(nil, "%q", l.Task.ID)})
	}
	var results []string
	callback := leaseOne(t, other, "w")
	if err := json.Unmarshal(callback.Task.Args, &results); err != nil || callback.Task.ID != "callback" || len(results) != 100 {
		t.Fatalf("%s takes %d results, %v", callback.Task.ID, len(results), err)
	}
	for i, id := range results {
		if id != fmt.Sprintf("m%02d", i) {
			t.Errorf("result %d is %s", i, id)
		}
	}
	finish(t, other, callback, driver.Outcome{State: jobs.StateSuccess})
	s.leaseNone(t, st, by("w", 1))
}

func (s *suite) hundredFail(t *testing.T) {
	st := s.handle(t)
	for _, l := range s.hundred(t, st) {
		o := driver.Outcome{State: jobs.StateSuccess}
		if l.Task.ID == "m41" {
			o = driver.Outcome{State: jobs.StateFailed, Error: "out of luck"}
		}
		finish(t, st, l, o)
	}
	if got := wantState(t, st, "callback", jobs.StateFailed); got.Error != driver.ChordError("m41", "out of luck") {
		t.Errorf("error of the callback is %q", got.Error)
	}
	if g, err := st.Group(t.Context(), "g"); err != nil || g.Succeeded != 99 || g.Failed != 1 || g.Finished == nil || g.FailedMember != "m41" || g.Error != "out of luck" {
		t.Errorf("group is %+v, %v", g, err)
	}
	s.leaseNone(t, st, by("w", 1))
}
