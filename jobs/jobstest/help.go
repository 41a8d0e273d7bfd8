package jobstest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
)

// patience is the time limit for an event that must happen.
const patience = 60 * time.Second

// errDone is the cause of contexts that the suite ends.
var errDone = errors.New("the check is done")

// handle opens a handle whose leases do not expire during a check.
func (s *suite) handle(t *testing.T) driver.Store {
	t.Helper()
	return s.closing(t, s.options())
}

// expiring opens a handle whose leases expire after shortLease.
func (s *suite) expiring(t *testing.T) driver.Store {
	t.Helper()
	o := s.options()
	o.LeaseTTL = shortLease
	return s.closing(t, o)
}

// keeping opens a handle with the retention time keep.
func (s *suite) keeping(t *testing.T, keep time.Duration) driver.Store {
	t.Helper()
	o := s.options()
	o.Keep = keep
	return s.closing(t, o)
}

func (s *suite) options() Options { return Options{LeaseTTL: longLease, MaxLost: s.MaxLost} }

// closing opens a handle that is closed at the end of the test.
func (s *suite) closing(t *testing.T, o Options) driver.Store {
	t.Helper()
	st := s.open(t, o)
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return st
}

func task(id string) jobs.NewTask { return jobs.NewTask{ID: id, Name: "work"} }

// by returns the request of a worker with this owner for up to max tasks made by the
// functions task and due.
func by(owner string, max int) driver.LeaseRequest {
	return driver.LeaseRequest{Owner: owner, Queues: []string{jobs.DefaultQueue}, Names: []string{"work"}, Max: max}
}

func enqueue(t *testing.T, st driver.Store, n jobs.NewTask) *jobs.Task {
	t.Helper()
	got, created, err := st.Enqueue(t.Context(), n)
	if err != nil {
		t.Fatalf("Enqueue %s: %v", n.ID, err)
	}
	if !created {
		t.Fatalf("Enqueue %s: the task exists already", n.ID)
	}
	return got
}

// due returns a task that has been due for a minute.
func due(id string) jobs.NewTask {
	n := task(id)
	n.RunAt = time.Now().Add(-time.Minute)
	return n
}

// enqueueMany enqueues n copies of the task one from many goroutines at once. The suffixes
// -0000, -0001 and so on are appended to its id.
func enqueueMany(t *testing.T, st driver.Store, one jobs.NewTask, n int) {
	t.Helper()
	const callers = 32
	errs := make(chan error)
	for c := range callers {
		go func() { // ends with its share; its error is received below
			var err error
			for i := c; i < n && err == nil; i += callers {
				each := one
				each.ID = fmt.Sprintf("%s-%04d", one.ID, i)
				_, _, err = st.Enqueue(t.Context(), each)
			}
			errs <- err
		}()
	}
	for range callers {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if t.Failed() {
		t.FailNow()
	}
}

// lease waits for due tasks and leases them. It fails if no task is due within patience.
func lease(t *testing.T, st driver.Store, r driver.LeaseRequest) []*driver.Lease {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	got, err := st.Lease(ctx, r)
	if err != nil {
		t.Fatalf("Lease: %v", err)
	}
	if len(got) == 0 || len(got) > r.Max {
		t.Fatalf("Lease returned %d leases, want 1 to %d", len(got), r.Max)
	}
	return got
}

func leaseOne(t *testing.T, st driver.Store, owner string) *driver.Lease {
	t.Helper()
	return lease(t, st, by(owner, 1))[0]
}

// leaseSoon leases one task as leaseOne does, but may be called from any goroutine: it
// returns nil instead of calling FailNow.
func leaseSoon(t *testing.T, st driver.Store) *driver.Lease {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	got, err := st.Lease(ctx, by("w", 1))
	if err != nil {
		t.Errorf("Lease: %v", err)
		return nil
	}
	return got[0]
}

// leaseNone fails if a task is due now or becomes due within a short time.
func (s *suite) leaseNone(t *testing.T, st driver.Store, r driver.LeaseRequest) {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), shortly, errDone)
	defer cancel()
	got, err := st.Lease(ctx, r)
	if !errors.Is(err, errDone) {
		t.Fatalf("Lease = %v, %v; want no tasks until the end of the context", ids(got), err)
	}
}

func finish(t *testing.T, st driver.Store, l *driver.Lease, o driver.Outcome) {
	t.Helper()
	if err := st.Finish(t.Context(), l, o); err != nil {
		t.Fatalf("Finish %s: %v", l.Task.ID, err)
	}
}

func get(t *testing.T, st driver.Store, id string) *jobs.Task {
	t.Helper()
	got, err := st.Get(t.Context(), id)
	if err != nil {
		t.Fatalf("Get %s: %v", id, err)
	}
	return got
}

func wantState(t *testing.T, st driver.Store, id string, want jobs.State) *jobs.Task {
	t.Helper()
	got := get(t, st, id)
	if got.State != want {
		t.Fatalf("task %s is %s, want %s (error %q)", id, got.State, want, got.Error)
	}
	return got
}

func wantError(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: error %v, want %v", what, got, want)
	}
}

// wantSame fails if a task has changed.
func wantSame(t *testing.T, st driver.Store, before *jobs.Task) {
	t.Helper()
	if now := get(t, st, before.ID); !reflect.DeepEqual(now, before) {
		t.Errorf("task %s changed\nfrom %+v\n  to %+v", before.ID, before, now)
	}
}

func ids(leases []*driver.Lease) []string {
	out := make([]string, len(leases))
	for i, l := range leases {
		out[i] = l.Task.ID
	}
	return out
}

// wantLate fails if something happened too early, that is, if late is negative. How late it
// was is only logged, because it depends on the machine.
func wantLate(t *testing.T, what string, late time.Duration) {
	t.Helper()
	if late < 0 {
		t.Errorf("%s happened %v too early", what, -late)
	}
	t.Logf("%s happened %v late", what, late)
}
