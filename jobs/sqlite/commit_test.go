package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
)

func openTemp(t *testing.T) *Store {
	return openInside(t, filepath.Join(t.TempDir(), "jobs.db"), Options{})
}

func newOp(run func(context.Context, *tx) error) *op {
	return &op{durable: true, run: run, since: time.Now(), done: make(chan error, 1)}
}

func inserts(id string) func(context.Context, *tx) error {
	return func(ctx context.Context, t *tx) error {
		_, err := t.insert(ctx, jobs.NewTask{ID: id, Name: "work"}, member{}, "")
		return err
	}
}

func TestFailedWriteDoesNotAffectOthers(t *testing.T) {
	s := openTemp(t)
	bad := errors.New("bad")
	batch := []*op{
		newOp(inserts("before")),
		newOp(func(ctx context.Context, t *tx) error { return cmp.Or(inserts("half")(ctx, t), bad) }),
		newOp(func(ctx context.Context, t *tx) error {
			return cmp.Or(inserts("wrong")(ctx, t), t.exec(ctx, `INSERT INTO tasks (id) VALUES ('x')`))
		}),
		newOp(inserts("after")),
	}
	if err := s.committer.begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.committer.commit(t.Context(), batch)
	for i, want := range []string{"", "bad", "constraint", ""} {
		err := <-batch[i].done
		if got := fmt.Sprint(err); want == "" && err != nil || !strings.Contains(got, want) {
			t.Errorf("write %d: %v, want %q", i, err, want)
		}
		if errors.Is(err, jobs.ErrUnavailable) {
			t.Errorf("write %d: %v is not the store's fault", i, err)
		}
	}
	for id, want := range map[string]error{"before": nil, "half": jobs.ErrNotFound, "wrong": jobs.ErrNotFound, "after": nil} {
		if _, err := s.Get(t.Context(), id); !errors.Is(err, want) {
			t.Errorf("task %s: %v, want %v", id, err, want)
		}
	}
}

func TestWaitingWritesShareCommit(t *testing.T) {
	s := openTemp(t)
	// Counts the commits; only the committer's goroutine calls it.
	commits, onCommit := 0, s.committer.committed
	s.committer.committed = func(rows map[int64]int64, due bool) { commits++; onCommit(rows, due) }

	started, goOn := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		err := s.committer.do(context.Background(), true, func(context.Context, *tx) error { close(started); <-goOn; return nil })
		if err != nil {
			t.Error(err)
		}
	})
	<-started
	const writes = 100
	for i := range writes {
		wg.Go(func() {
			if _, _, err := s.Enqueue(t.Context(), jobs.NewTask{ID: fmt.Sprint("t", i), Name: "work"}); err != nil {
				t.Error(err)
			}
		})
	}
	waitFor(t, func() bool {
		s.committer.mu.Lock()
		defer s.committer.mu.Unlock()
		return len(s.committer.waiting) == writes
	})
	close(goOn)
	wg.Wait()
	if s.Close(); commits != 2 {
		t.Errorf("%d commits, want 2", commits)
	}
}

// A test cannot cause a power failure, but it can read back the setting that protects
// from it.
func TestDurability(t *testing.T) {
	s := openTemp(t)
	ctx := t.Context()
	req := driver.LeaseRequest{Owner: "w", Queues: []string{"default"}, Names: []string{"work"}, Max: 1}
	var l *driver.Lease
	lease := func() error {
		leases, err := s.Lease(ctx, req)
		if err == nil {
			l = leases[0]
		}
		return err
	}
	const normal, full = 1, 2 // https://www.sqlite.org/pragma.html#pragma_synchronous
	for i, step := range []struct {
		what string
		do   func() error
		want int
	}{
		{"Enqueue", func() error { _, _, err := s.Enqueue(ctx, jobs.NewTask{ID: "a", Name: "work"}); return err }, full},
		{"Lease", lease, full},
		{"Progress", func() error { return s.Progress(ctx, l, 1, "") }, normal},
		{"Extend", func() error { _, err := s.Extend(ctx, []*driver.Lease{l}); return err }, normal},
		{"Reclaim", func() error { _, err := s.Reclaim(ctx, "w"); return err }, full},
		{"Lease", lease, full},
		{"Release", func() error { return s.Release(ctx, l) }, normal},
		{"Lease", lease, full},
		{"Progress", func() error { return s.Progress(ctx, l, 2, "") }, normal},
		{"Finish", func() error { return s.Finish(ctx, l, driver.Outcome{State: jobs.StateSuccess}) }, full},
	} {
		if err := step.do(); err != nil {
			t.Fatalf("%s: %v", step.what, err)
		}
		var got int
		if err := s.committer.tx.conn.QueryRowContext(ctx, "PRAGMA synchronous").Scan(&got); err != nil || got != step.want {
			t.Errorf("step %d, %s: synchronous is %d, want %d; %v", i, step.what, got, step.want, err)
		}
	}
	var mode string
	if err := s.read.db.QueryRow("PRAGMA journal_mode").Scan(&mode); err != nil || mode != "wal" {
		t.Errorf("journal mode is %s, %v", mode, err)
	}
	if _, err := s.read.db.Exec("DELETE FROM tasks"); err == nil {
		t.Error("the read pool can write")
	}
	const memory = 2 // https://www.sqlite.org/pragma.html#pragma_temp_store
	for what, db := range map[string]interface {
		QueryRowContext(context.Context, string, ...any) *sql.Row
	}{"read": s.read.db, "write": s.committer.tx.conn} {
		var store int
		if err := db.QueryRowContext(ctx, "PRAGMA temp_store").Scan(&store); err != nil || store != memory {
			t.Errorf("%s: temporary files are kept in %d, %v; want memory", what, store, err)
		}
	}
}

// A durable write that arrives during a transaction without fsync waits for the next one.
func TestLateDurableWriteWaits(t *testing.T) {
	s := openTemp(t)
	c := s.committer
	light := newOp(inserts("light"))
	light.durable = false
	c.waiting = []*op{light}
	if err := c.begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	heavy := newOp(inserts("heavy"))
	c.waiting = append(c.waiting, heavy)
	if batch := c.take(); !slices.Equal(batch, []*op{light}) || !slices.Equal(c.waiting, []*op{heavy}) {
		t.Errorf("took %v and left %v", batch, c.waiting)
	} else {
		c.commit(t.Context(), batch)
	}
	if err := c.begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.commit(t.Context(), c.take())
	if err := <-heavy.done; err != nil || !c.full {
		t.Errorf("durable %v, %v", c.full, err)
	}
}

func TestCloseReleasesEverything(t *testing.T) {
	s := openTemp(t)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { s.Lease(ctx, driver.LeaseRequest{Queues: []string{"q"}, Names: []string{"n"}, Max: 1}) })
	if _, _, err := s.Enqueue(ctx, jobs.NewTask{ID: "a", Name: "work"}); err != nil {
		t.Fatal(err)
	}
	wg.Go(func() { s.Watch(ctx, "a", 1) })
	running := func() (writer, poll bool) {
		s.committer.mu.Lock()
		defer s.committer.mu.Unlock()
		s.poller.mu.Lock()
		defer s.poller.mu.Unlock()
		return s.committer.running, s.poller.running && len(s.poller.leasers) == 1 && len(s.poller.watchers) == 1
	}
	waitFor(t, func() bool { writer, poll := running(); return !writer && poll })
	cancel()
	wg.Wait()
	waitFor(t, func() bool { _, poll := running(); return !poll })
	if n := len(s.poller.leasers) + len(s.poller.watchers); n > 0 {
		t.Errorf("%d waiters are left", n)
	}

	dir := filepath.Dir(s.committer.path)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if got := strings.Join(names, " "); got != "jobs.db jobs.db-turn" {
		t.Errorf("the last Close leaves %s; the WAL should be in the file", got)
	}
}

func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(60 * time.Second); !ok(); <-tick.C {
		if time.Now().After(end) {
			t.Fatal("nothing happened within a minute")
		}
	}
}
