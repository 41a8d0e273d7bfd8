package sqlite

import (
	"testing"
	"time"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
)

// If all due tasks are paused, rate-limited or for other workers, a worker sleeps. It must
// not take the write lock again and again.
func TestIdleWorkerSleeps(t *testing.T) {
	s := openTemp(t)
	request := driver.LeaseRequest{
		Owner: "w", Queues: []string{"paused", "open"}, Names: []string{"work", "limited"}, Max: 1,
		Rates: map[string]jobs.Rate{"limited": {Count: 1, Per: time.Hour}},
	}
	due := func() time.Duration {
		t.Helper()
		want, err := newWanted(request)
		if err != nil {
			t.Fatal(err)
		}
		next, err := s.nextDue(t.Context(), want)
		if err != nil {
			t.Fatal(err)
		}
		return time.Until(fromMicro(next))
	}
	enqueue := func(n jobs.NewTask) {
		t.Helper()
		if _, _, err := s.Enqueue(t.Context(), n); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Pause(t.Context(), "paused"); err != nil {
		t.Fatal(err)
	}
	enqueue(jobs.NewTask{ID: "a", Name: "work", Queue: "paused"})
	enqueue(jobs.NewTask{ID: "b", Name: "other", Queue: "open"})
	if d := due(); d < 24*time.Hour {
		t.Errorf("with a paused queue and a task of another worker the next task is due in %v", d)
	}
	for _, id := range []string{"c", "d"} {
		enqueue(jobs.NewTask{ID: id, Name: "limited", Queue: "open"})
	}
	if d := due(); d > 0 {
		t.Errorf("the first of its name is due in %v", d)
	}
	if l, err := s.Lease(t.Context(), request); err != nil || l[0].Task.ID != "c" {
		t.Fatalf("leased %+v, %v", l, err)
	}
	if d := due(); d < 50*time.Minute || d > time.Hour {
		t.Errorf("the second of its name is due in %v", d)
	}
	enqueue(jobs.NewTask{ID: "e", Name: "other", Queue: "elsewhere", Expires: time.Now().Add(time.Hour)})
	if d := due(); d < 50*time.Minute || d > time.Hour {
		t.Errorf("the expiring task is due in %v", d)
	}
}
