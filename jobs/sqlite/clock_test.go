package sqlite

import (
	"context"
	"errors"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
)

// setClock is a clock of a machine that a test sets and starts again.
type setClock struct {
	step  atomic.Int64 // by which the wall clock was set, in ns
	start atomic.Int64 // of the machine, in ns before its real start
	id    string
}

func (c *setClock) read() (time.Time, time.Duration) {
	now, up := systemClocks{}.read()
	return now.Round(0).Add(time.Duration(c.step.Load())), up + time.Duration(c.start.Load())
}

func (c *setClock) boot() string { return c.id }

// openOn opens a store that reads a clock.
func openOn(t *testing.T, path string, c *setClock, o Options) *Store {
	t.Helper()
	s := openInside(t, path, o)
	s.committer.tx.clocks, s.committer.tx.boot = c, c.boot()
	return s
}

var work = driver.LeaseRequest{Owner: "w", Queues: []string{"default"}, Names: []string{"work"}, Max: 10}

func put(t *testing.T, s *Store, all ...jobs.NewTask) {
	t.Helper()
	for _, n := range all {
		n.Name = "work"
		if _, _, err := s.Enqueue(t.Context(), n); err != nil {
			t.Fatal(err)
		}
	}
}

// due returns when a task is due or its lease ends, from now on the clock of a store.
func due(t *testing.T, s *Store, id string) time.Duration {
	t.Helper()
	var at int64
	if err := s.read.db.QueryRowContext(t.Context(), `SELECT due FROM tasks WHERE id = ?`, id).Scan(&at); err != nil {
		t.Fatal(err)
	}
	now, _ := s.committer.tx.clocks.read()
	return fromMicro(at).Sub(now)
}

// follow makes a store notice that its clock was set.
func follow(t *testing.T, s *Store) {
	t.Helper()
	if err := s.committer.do(t.Context(), false, func(context.Context, *tx) error { return nil }); err != nil {
		t.Fatal(err)
	}
}

// After a step of the clock, leases, retries and what was due keep their distance from the present
// time; a RunAt does not. Two processes move them once.
func TestClockIsSet(t *testing.T) {
	for _, step := range []time.Duration{time.Hour, -time.Hour, 8 * 24 * time.Hour} {
		t.Run(step.String(), func(t *testing.T) {
			c, path := &setClock{id: "boot"}, filepath.Join(t.TempDir(), "jobs.db")
			s, other := openOn(t, path, c, Options{}), openOn(t, path, c, Options{})
			put(t, s, jobs.NewTask{ID: "runs"}, jobs.NewTask{ID: "retries"})
			leases, err := s.Lease(t.Context(), work)
			if err != nil || len(leases) != 2 {
				t.Fatalf("leased %v, %v", leases, err)
			}
			for _, l := range leases {
				if l.Task.ID == "retries" {
					o := driver.Outcome{State: jobs.StateRetrying, Error: "x", RetryAt: time.Now().Add(5 * time.Minute)}
					if err := s.Finish(t.Context(), l, o); err != nil {
						t.Fatal(err)
					}
				}
			}
			put(t, s, jobs.NewTask{ID: "first"}, jobs.NewTask{ID: "second"}, jobs.NewTask{ID: "later", RunAt: time.Now().Add(2 * time.Hour)})
			follow(t, other)

			c.step.Store(int64(step))
			follow(t, other)
			follow(t, s)
			follow(t, other)
			for id, want := range map[string]time.Duration{
				"runs": 30 * time.Second, "retries": min(5*time.Minute, 5*time.Minute-step), "first": min(0, -step), "second": min(0, -step), "later": 2*time.Hour - step,
			} {
				if step < 0 && id != "later" {
					want = map[string]time.Duration{"runs": 30 * time.Second, "retries": 5 * time.Minute}[id]
				}
				if d := due(t, s, id); (d-want).Abs() > 30*time.Second || d > want+time.Second {
					t.Errorf("%s is due in %v, want about %v", id, d, want)
				}
			}
			if d := due(t, s, "second") - due(t, s, "first"); d <= 0 {
				t.Errorf("the second task is due %v after the first", d)
			}
			if got, err := s.Get(t.Context(), "first"); err != nil || got.State != jobs.StateQueued {
				t.Errorf("first is %+v, %v", got, err)
			}
		})
	}
}

// A worker that waits for a task notices that the clock was set back.
func TestClockIsSetBackWhileLeaseWaits(t *testing.T) {
	c, path := &setClock{id: "boot"}, filepath.Join(t.TempDir(), "jobs.db")
	c.step.Store(int64(time.Hour)) // so that Lease, which reads the system's clock, sees due times in the future
	s := openOn(t, path, c, Options{})
	put(t, s, jobs.NewTask{ID: "a"})
	c.step.Store(0)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if l, err := s.Lease(ctx, work); err != nil || len(l) != 1 {
		t.Errorf("leased %v, %v", l, err)
	}
}

// Unique keys and records last as long as they were to, and a rate limit allows the next start.
func TestClockAndDurations(t *testing.T) {
	c, path := &setClock{id: "boot"}, filepath.Join(t.TempDir(), "jobs.db")
	s := openOn(t, path, c, Options{})
	put(t, s, jobs.NewTask{ID: "first", Unique: "key", UniqueFor: time.Minute})
	if err := s.PutRecord(t.Context(), "kind", driver.Record{Key: "k", Value: []byte("v")}, time.Minute); err != nil {
		t.Fatal(err)
	}
	for _, step := range []time.Duration{8 * 24 * time.Hour, -time.Hour} {
		c.step.Store(int64(step))
		follow(t, s)
		now, _ := c.read()
		for table, column := range map[string]string{"uniques": "until", "records": "until"} {
			var until int64
			if err := s.read.db.QueryRowContext(t.Context(), `SELECT `+column+` FROM `+table).Scan(&until); err != nil {
				t.Fatalf("%s after a step to %v: %v", table, step, err)
			}
			if left := fromMicro(until).Sub(now); left > time.Minute+time.Second || left < 0 {
				t.Errorf("%s after a step to %v: %v are left", table, step, left)
			}
		}
	}
}

// A large step forward removes no ended task at once.
func TestClockAndRetention(t *testing.T) {
	c, path := &setClock{id: "boot"}, filepath.Join(t.TempDir(), "jobs.db")
	s := openOn(t, path, c, Options{})
	put(t, s, jobs.NewTask{ID: "a"})
	if _, err := s.Cancel(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	c.step.Store(int64(8 * 24 * time.Hour))
	follow(t, s)
	c.step.Store(0)
	follow(t, s)
	if got, err := s.Get(t.Context(), "a"); err != nil || got.State != jobs.StateCancelled {
		t.Errorf("after the clock was corrected: %+v, %v", got, err)
	}
}

// A machine that starts with an earlier clock than before runs what was due.
func TestClockAfterRestartOfTheMachine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "jobs.db")
	before := &setClock{id: "before"}
	before.step.Store(int64(time.Hour))
	s := openOn(t, path, before, Options{})
	put(t, s, jobs.NewTask{ID: "runs"})
	want, err := newWanted(work)
	if err != nil {
		t.Fatal(err)
	}
	if l, err := s.lease(t.Context(), want); err != nil || len(l) != 1 { // not by Lease, which reads the system's clock
		t.Fatalf("leased %v, %v", l, err)
	}
	put(t, s, jobs.NewTask{ID: "waits"}, jobs.NewTask{ID: "later", RunAt: time.Now().Add(3 * time.Hour)})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	after := &setClock{id: "after"}
	after.start.Store(int64(-time.Minute))
	s = openOn(t, path, after, Options{})
	follow(t, s)
	for id, want := range map[string]time.Duration{"runs": 30 * time.Second, "waits": 0, "later": 3 * time.Hour} {
		if d := due(t, s, id); d > want || d < want-time.Minute {
			t.Errorf("%s is due in %v, want %v", id, d, want)
		}
	}
	if err := s.Close(); err != nil && !errors.Is(err, jobs.ErrUnavailable) {
		t.Error(err)
	}
}
