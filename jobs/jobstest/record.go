package jobstest

import (
	"maps"
	"testing"
	"time"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
)

var recordChecks = []check{
	{"records are shared, replaced and removed", (*suite).recordsShared},
	{"a record ends with its time", (*suite).recordEnds},
	{"Unclaimed counts due tasks that no worker can run", (*suite).unclaimed},
}

func put(t *testing.T, st driver.Store, kind, key, value string, keep time.Duration) {
	t.Helper()
	if err := st.PutRecord(t.Context(), kind, driver.Record{Key: key, Value: []byte(value)}, keep); err != nil {
		t.Fatal(err)
	}
}

func wantRecords(t *testing.T, st driver.Store, kind string, want ...string) {
	t.Helper()
	all, err := st.Records(t.Context(), kind)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range all {
		got = append(got, r.Key+"="+string(r.Value))
		if value, err := st.Record(t.Context(), kind, r.Key); err != nil || string(value) != string(r.Value) {
			t.Errorf("record %s is %q, %v; the list has %q", r.Key, value, err, r.Value)
		}
	}
	if len(got) != len(want) {
		t.Fatalf("records %q, want %q", got, want)
	}
	for i := range got {
		if got[i] != want[i] {
			t.Errorf("records %q, want %q", got, want)
		}
	}
}

func (s *suite) recordsShared(t *testing.T) {
	st, other := s.handle(t), s.handle(t)
	wantRecords(t, other, "session")
	put(t, st, "session", "b", `{"ü": 1}`, time.Hour)
	put(t, other, "session", "a:b c", "", time.Hour)
	put(t, st, "other", "b", "x", time.Hour)
	wantRecords(t, other, "session", "a:b c=", `b={"ü": 1}`)
	put(t, other, "session", "b", "2", time.Hour)
	wantRecords(t, st, "session", "a:b c=", "b=2")
	for range 2 {
		if err := st.RemoveRecord(t.Context(), "session", "b"); err != nil {
			t.Fatal(err)
		}
	}
	wantRecords(t, other, "session", "a:b c=")
	_, err := other.Record(t.Context(), "session", "b")
	wantError(t, "a record that was removed", err, jobs.ErrNotFound)
	wantRecords(t, st, "other", "b=x")
}

func (s *suite) recordEnds(t *testing.T) {
	st := s.handle(t)
	put(t, st, "session", "a", "1", shortly)
	put(t, st, "session", "b", "1", shortly)
	put(t, st, "session", "b", "2", time.Hour)
	testutil.Eventually(t, "the record ends", func() bool {
		_, err := st.Record(t.Context(), "session", "a")
		return err != nil
	})
	wantRecords(t, st, "session", "b=2")
}

func (s *suite) unclaimed(t *testing.T) {
	st := s.handle(t)
	for _, each := range []struct{ id, name, queue string }{{"1", "x", "q"}, {"2", "y", "q"}, {"3", "y", "q"}, {"4", "x", "r"}} {
		enqueue(t, st, jobs.NewTask{ID: each.id, Name: each.name, Queue: each.queue})
	}
	enqueue(t, st, jobs.NewTask{ID: "5", Name: "y", Queue: "q", RunAt: time.Now().Add(time.Hour)})
	want := func(want map[string]int, workers ...driver.Claim) {
		t.Helper()
		testutil.Eventually(t, "the count of unclaimed tasks", func() bool {
			got, err := st.Unclaimed(t.Context(), workers)
			return err == nil && maps.Equal(got, want)
		})
	}
	want(map[string]int{"q": 3, "r": 1})
	// A worker skips the tasks that it cannot run.
	l := lease(t, st, driver.LeaseRequest{Owner: "w", Queues: []string{"q"}, Names: []string{"x"}, Max: 5})
	if len(l) != 1 {
		t.Fatalf("leased %v", ids(l))
	}
	want(map[string]int{"q": 2, "r": 1}, driver.Claim{Queues: []string{"q"}, Names: []string{"x"}})
	want(map[string]int{"r": 1}, driver.Claim{Queues: []string{"q"}, Names: []string{"x"}}, driver.Claim{Queues: []string{"q"}, Names: []string{"y", "z"}})
	want(map[string]int{}, driver.Claim{Queues: []string{"q", "r"}, Names: []string{"x", "y"}})
}
