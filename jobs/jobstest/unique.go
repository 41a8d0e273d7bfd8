package jobstest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
)

var uniqueChecks = []check{
	{"only one task with a unique key is accepted within UniqueFor", (*suite).unique},
	{"a unique key is free after UniqueFor", (*suite).uniqueEnds},
	{"one of several concurrent tasks with the same key is accepted", (*suite).uniqueAtOnce},
	{"a unique key without a time, or in a group, is refused", (*suite).uniqueRefused},
}

// keyed returns a task with a unique key.
func keyed(id, name string, d time.Duration) jobs.NewTask {
	n := task(id)
	n.Name, n.Unique, n.UniqueFor = name, "the key", d
	return n
}

func (s *suite) unique(t *testing.T) {
	st, other := s.handle(t), s.handle(t)
	enqueue(t, st, keyed("first", "work", time.Hour))
	before := get(t, st, "first")
	if got, created, err := other.Enqueue(t.Context(), keyed("second", "work", time.Hour)); err != nil || created || got.ID != "first" || got.Version != before.Version {
		t.Fatalf("Enqueue = %+v, %v, %v", got, created, err)
	}
	_, err := st.Get(t.Context(), "second")
	wantError(t, "Get of the second", err, jobs.ErrNotFound)
	enqueue(t, other, keyed("another-name", "other", time.Hour))
	plain := task("plain")
	enqueue(t, other, plain)
	if _, err := st.Cancel(t.Context(), "first"); err != nil {
		t.Fatal(err)
	}
	if got, created, err := other.Enqueue(t.Context(), keyed("third", "work", time.Hour)); err != nil || created || got.State != jobs.StateCancelled {
		t.Errorf("after its end: Enqueue = %+v, %v, %v", got, created, err)
	}
}

func (s *suite) uniqueEnds(t *testing.T) {
	st, other := s.handle(t), s.handle(t)
	end := time.Now().Add(shortly) // earliest end of the key
	enqueue(t, st, keyed("first", "work", shortly))
	testutil.Eventually(t, "the key is free", func() bool {
		_, created, err := other.Enqueue(t.Context(), keyed("second", "work", time.Hour))
		if created && time.Now().Before(end.Add(-2*time.Millisecond)) { // resolution of a millisecond
			t.Errorf("key is free too early")
		}
		return err == nil && created
	})
}

func (s *suite) uniqueAtOnce(t *testing.T) {
	handles := []driver.Store{s.handle(t), s.handle(t)}
	const callers = 16
	got := make(chan string, callers)
	for i := range callers {
		go func() { // ends with its call
			task, _, err := handles[i%2].Enqueue(t.Context(), keyed(fmt.Sprint("t", i), "work", time.Hour))
			if err != nil {
				t.Error(err)
				got <- ""
				return
			}
			got <- task.ID
		}()
	}
	seen := map[string]bool{}
	for range callers {
		seen[<-got] = true
	}
	if len(seen) != 1 {
		t.Errorf("callers got the tasks %v, want one", seen)
	}
	leaseOne(t, handles[0], "w")
	s.leaseNone(t, handles[1], by("w", 1))
}

func (s *suite) uniqueRefused(t *testing.T) {
	st := s.handle(t)
	if _, _, err := st.Enqueue(t.Context(), keyed("a", "work", 0)); err == nil || errors.Is(err, jobs.ErrUnavailable) {
		t.Errorf("without a time: %v", err)
	}
	n := task("a")
	n.UniqueFor = time.Hour
	if _, _, err := st.Enqueue(t.Context(), n); err == nil {
		t.Error("without a key: accepted")
	}
	if _, err := st.EnqueueGroup(t.Context(), jobs.NewGroup{ID: "g", Members: []jobs.NewTask{keyed("a", "work", time.Hour)}}); err == nil {
		t.Error("in a group: accepted")
	}
	_, err := st.Get(t.Context(), "a")
	wantError(t, "Get", err, jobs.ErrNotFound)
}
