package jobstest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
)

var rateChecks = []check{
	{"the rate of a task limits all workers together", (*suite).rates},
	{"a rate-limited task does not delay other tasks, and keeps its order", (*suite).rateKeepsOrder},
	{"a rate also limits retries", (*suite).rateOfRetries},
	{"a changed rate applies at once", (*suite).rateChanges},
}

// limited returns a request for tasks named limited and work. One task named limited may
// start in each interval every.
func limited(owner string, max int, every time.Duration) driver.LeaseRequest {
	r := by(owner, max)
	r.Names = append(r.Names, "limited")
	r.Rates = map[string]jobs.Rate{"limited": {Count: 1, Per: every}}
	return r
}

func (s *suite) rates(t *testing.T) {
	handles := []driver.Store{s.handle(t), s.handle(t)}
	every := driver.RateSlack + shortly
	const n = 4
	for i := range n {
		one := task(fmt.Sprint("t", i))
		one.Name = "limited"
		enqueue(t, handles[0], one)
	}
	began := time.Now()
	for i := range n {
		got := lease(t, handles[i%2], limited(fmt.Sprint("w", i), n, every))
		if len(got) != 1 {
			t.Fatalf("leased %v at once", ids(got))
		}
		finish(t, handles[0], got[0], driver.Outcome{State: jobs.StateSuccess})
	}
	took := time.Since(began)
	if least := (n-1)*every - driver.RateSlack; took < least {
		t.Errorf("%d tasks started within %v, want at least %v", n, took, least)
	}
	// Without a rate, all are leased at once.
	for i := range n {
		one := task(fmt.Sprint("u", i))
		one.Name = "limited"
		enqueue(t, handles[0], one)
	}
	r := limited("w", n, every)
	r.Rates = nil
	if got := lease(t, handles[1], r); len(got) != n {
		t.Errorf("without a limit leased %v", ids(got))
	}
}

func (s *suite) rateKeepsOrder(t *testing.T) {
	st := s.handle(t)
	for i := range 3 {
		one := task(fmt.Sprint("slow-", i))
		one.Name = "limited"
		enqueue(t, st, one)
		enqueue(t, st, task(fmt.Sprint("quick-", i)))
	}
	every := driver.RateSlack + shortly/2
	leases := lease(t, st, limited("w", 10, every))
	got := ids(leases)
	slices.Sort(got)
	for _, l := range leases {
		finish(t, st, l, driver.Outcome{State: jobs.StateSuccess})
	}
	if want := []string{"quick-0", "quick-1", "quick-2", "slow-0"}; !slices.Equal(got, want) {
		t.Errorf("leased %v, want %v", got, want)
	}
	one := task("slow-3")
	one.Name = "limited"
	enqueue(t, st, one)
	for _, want := range []string{"slow-1", "slow-2", "slow-3"} {
		l := lease(t, st, limited("w", 2, every))
		if len(l) != 1 || l[0].Task.ID != want {
			t.Errorf("leased %v, want %s", ids(l), want)
		}
		finish(t, st, l[0], driver.Outcome{State: jobs.StateSuccess})
	}
}

func (s *suite) rateOfRetries(t *testing.T) {
	st := s.handle(t)
	one := task("a")
	one.Name = "limited"
	enqueue(t, st, one)
	l := lease(t, st, limited("w", 1, time.Hour))[0]
	finish(t, st, l, driver.Outcome{State: jobs.StateRetrying, Error: "x"})
	s.leaseNone(t, st, limited("w", 1, time.Hour))
	if d, err := st.Depth(t.Context()); err != nil || len(d) != 1 || d[0].Waiting != 1 {
		t.Errorf("depth is %+v, %v", d, err)
	}
	cancel(t, st, "a")
	s.leaseNone(t, st, limited("w", 1, time.Hour))
}

func (s *suite) rateChanges(t *testing.T) {
	st := s.handle(t)
	for _, id := range []string{"a", "b", "c"} {
		one := task(id)
		one.Name = "limited"
		enqueue(t, st, one)
	}
	leaseOneOf(t, st, limited("w", 3, time.Hour), "a")
	s.leaseNone(t, st, limited("w", 3, time.Hour))
	every := driver.RateSlack + shortly/2
	leaseOneOf(t, st, limited("w", 3, every), "b")
	leaseOneOf(t, st, limited("w", 3, every), "c")
}
