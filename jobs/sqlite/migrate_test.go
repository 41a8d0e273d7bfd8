package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
)

// fileOfSchema makes a file as an older version with the given schemas does, and returns
// a connection of that version.
func fileOfSchema(t *testing.T, schemas ...string) (path string, before *sql.DB, exec func(statement string, args ...any)) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "jobs.db")
	if err := create(path); err != nil {
		t.Fatal(err)
	}
	before, err := sql.Open(driverName, dsn(path, "busy_timeout(5000)"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { before.Close() })
	exec = func(statement string, args ...any) {
		t.Helper()
		if _, err := before.Exec(statement, args...); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	exec("PRAGMA journal_mode = WAL")
	for _, schema := range schemas {
		exec(schema)
	}
	exec(fmt.Sprintf("PRAGMA application_id = %d; PRAGMA user_version = %d", applicationID, len(schemas)))
	return path, before, exec
}

// A file of schema 1 is migrated with its data, and a process of the older version that
// has it open continues.
func TestMigrateFromSchema1(t *testing.T) {
	path, before, exec := fileOfSchema(t, schema1)
	insert := func(id, state string, due any) { // as schema 1 did
		t.Helper()
		exec(`INSERT INTO tasks (version, id, queue, name, state, due, run_at, created, timeout, max_retries,
			attempts, lost, worker, progress, note, error, artifacts, failures, args, signature, group_seq, member)
			VALUES (1, ?1, 'default', 'work', ?2, ?3, ?4, ?4, 0, 0, 0, 0, '', 0, '', '', '[]', '[]', '[]', NULL, NULL, 0)`,
			id, state, due, time.Now().UnixMicro())
	}
	insert("old", "queued", time.Now().UnixMicro())

	s, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	insert("of the process before", "queued", time.Now().UnixMicro())
	n := jobs.NewTask{ID: "new", Name: "work", Expires: time.Now().Add(time.Hour)}
	if _, created, err := s.Enqueue(t.Context(), n); err != nil || !created {
		t.Fatalf("Enqueue = %v, %v", created, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	for _, want := range []string{"old", "of the process before", "new"} {
		l, err := s.Lease(ctx, driver.LeaseRequest{Owner: "w", Queues: []string{"default"}, Names: []string{"work"}, Max: 1})
		if err != nil || l[0].Task.ID != want {
			t.Fatalf("leased %+v, %v; want %s", l, err, want)
		}
		if err := s.AppendLog(ctx, l[0], "a line\n"); err != nil {
			t.Error(err)
		}
	}
	exec(`DELETE FROM tasks WHERE id = 'old'`)
	var logs int
	if err := before.QueryRow(`SELECT count(*) FROM logs`).Scan(&logs); err != nil || logs != 2 {
		t.Errorf("%d logs are left, %v", logs, err)
	}
	again, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}

// A chain and a chord that schema 2 accepted continue without reservations. A process of
// that version can still enqueue tasks whose ids a new chain has reserved.
func TestMigrateFromSchema2(t *testing.T) {
	path, before, exec := fileOfSchema(t, schema1, schema2)
	insert := func(id, signature string, group any, place int) { // as schema 2 did
		t.Helper()
		var message any
		if signature != "" {
			message = []byte(signature)
		}
		exec(`INSERT INTO tasks (version, id, queue, name, state, due, run_at, created, timeout, max_retries,
			attempts, lost, worker, progress, note, error, artifacts, failures, args, signature, group_seq, member, expires)
			VALUES (1, ?1, 'default', 'work', 'queued', ?2, ?2, ?2, 0, 0, 0, 0, '', 0, '', '', '[]', '[]', '[]', ?3, ?4, ?5, NULL)
			ON CONFLICT (id) DO NOTHING`, id, time.Now().UnixMicro(), message, group, place)
	}
	insert("old-1", `{"UUID":"old-1","OnSuccess":[{"UUID":"old-2","Name":"work","OnSuccess":[{"UUID":"old-3","Name":"work"}]}]}`, nil, 0)
	insert("gone-1", `{"UUID":"gone-1","OnSuccess":[{"UUID":"gone-2","Name":"work"}]}`, nil, 0)
	exec(`INSERT INTO groups (seq, id, created, size, members, immutable, callback_id, callback)
		VALUES (7, 'g', ?, 1, '["m"]', 0, 'c', '{"ID":"c","Name":"work"}')`, time.Now().UnixMicro())
	insert("m", "", 7, 0)

	s, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	lease := func(id string) *driver.Lease {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		l, err := s.Lease(ctx, driver.LeaseRequest{Owner: "w", Queues: []string{"default"}, Names: []string{"work"}, Max: 1})
		if err != nil || l[0].Task.ID != id {
			t.Fatalf("leased %+v, %v; want %s", l, err, id)
		}
		return l[0]
	}
	succeed := func(id string, next ...jobs.NewTask) {
		t.Helper()
		if err := s.Finish(t.Context(), lease(id), driver.Outcome{State: jobs.StateSuccess, Next: next}); err != nil {
			t.Fatal(err)
		}
	}
	succeed("old-1", jobs.NewTask{ID: "old-2", Name: "work", Followers: []string{"old-3"}})
	if err := s.CancelWorkflow(t.Context(), "gone-1"); err != nil {
		t.Errorf("cancel a chain of schema 2: %v", err)
	}
	if w, err := (&jobs.Client{Store: s}).Workflow(t.Context(), "gone-1"); err != nil || w.State != jobs.StateCancelled {
		t.Errorf("a cancelled chain of schema 2 is %+v, %v", w, err)
	}
	succeed("m")
	succeed("old-2", jobs.NewTask{ID: "old-3", Name: "work"})
	succeed("c")
	succeed("old-3")
	for _, id := range []string{"old-1", "g"} {
		if w, err := (&jobs.Client{Store: s}).Workflow(t.Context(), id); err != nil || w.State != jobs.StateSuccess {
			t.Errorf("workflow %s is %+v, %v", id, w, err)
		}
	}
	// Sent again after the upgrade, after a lost response.
	again := jobs.NewTask{ID: "old-1", Name: "work", Digest: "any", Followers: []string{"drawn"}}
	if _, created, err := s.Enqueue(t.Context(), again); err != nil || created {
		t.Errorf("the same chain: %v, %v", created, err)
	}

	if _, _, err := s.Enqueue(t.Context(), jobs.NewTask{ID: "new-1", Name: "work", Followers: []string{"new-2", "new-3"}}); err != nil {
		t.Fatal(err)
	}
	l := lease("new-1")
	insert("new-2", "", nil, 0) // the write of the older process
	exec(`UPDATE tasks SET version = version + 1, state = 'success', due = NULL, finished = ? WHERE id = 'new-1'`, time.Now().UnixMicro())
	if got, err := s.Get(t.Context(), "new-2"); err != nil || got.Workflow != l.Task.ID {
		t.Errorf("the second is %+v, %v", got, err)
	}
	succeed("new-2", jobs.NewTask{ID: "new-3", Name: "work"})
	succeed("new-3")
	var left int
	if err := before.QueryRow(`SELECT count(*) FROM reserved`).Scan(&left); err != nil || left != 0 {
		t.Errorf("%d ids are reserved still, %v", left, err)
	}
}

// Reservations are removed with the task or group that precedes them.
func TestReservationsAreSwept(t *testing.T) {
	s := openInside(t, filepath.Join(t.TempDir(), "jobs.db"), Options{Keep: time.Millisecond})
	if _, _, err := s.Enqueue(t.Context(), jobs.NewTask{ID: "a", Name: "work", Followers: []string{"b"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Cancel(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	left := 1
	for i := 0; left > 0 && i < 10_000; i++ { // any write removes old rows
		if _, _, err := s.Enqueue(t.Context(), jobs.NewTask{ID: fmt.Sprint("t", i), Name: "work"}); err != nil {
			t.Fatal(err)
		}
		if err := s.read.db.QueryRow(`SELECT count(*) FROM reserved`).Scan(&left); err != nil {
			t.Fatal(err)
		}
	}
	if left != 0 {
		t.Errorf("%d ids are still reserved", left)
	}
}

// A process of schema 3 continues after the migration to schema 4. It accepts tasks, and
// leases and ends those that have kwargs and headers.
func TestMigrateFromSchema3(t *testing.T) {
	path, before, exec := fileOfSchema(t, schema1, schema2, schema3)
	insert := func(id string) { // as schema 3 did
		t.Helper()
		exec(`INSERT INTO tasks (version, id, queue, name, state, due, run_at, created, timeout, max_retries,
			attempts, lost, worker, progress, note, error, artifacts, failures, args, signature, group_seq, member, expires, workflow, followers, digest)
			VALUES (1, ?1, 'default', 'work', 'queued', ?2, ?2, ?2, 0, 0, 0, 0, '', 0, '', '', '[]', '[]', '[]', NULL, NULL, 0, NULL, '', NULL, '')`,
			id, time.Now().UnixMicro())
	}
	insert("old")
	exec(`INSERT INTO groups (created, id, size, members, immutable, callback_id, callback) VALUES (1, 'g', 1, '["old"]', 1, '', NULL)`)
	s, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	insert("later")
	n := jobs.NewTask{ID: "new", Name: "work", Kwargs: []byte(`{"a":1}`), Headers: []byte(`{"b":2}`)}
	if _, _, err := s.Enqueue(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]string{"old": "{} ", "later": "{} ", "new": `{"a":1} {"b":2}`} {
		if got, err := s.Get(t.Context(), id); err != nil || string(got.Kwargs)+" "+string(got.Headers) != want {
			t.Errorf("%s is %+v, %v", id, got, err)
		}
	}
	exec(`UPDATE tasks SET version = version + 1, state = 'success', due = NULL, finished = ? WHERE id = 'new'`, time.Now().UnixMicro())
	if got, err := s.Get(t.Context(), "new"); err != nil || got.State != jobs.StateSuccess || string(got.Kwargs) != `{"a":1}` {
		t.Errorf("new is %+v, %v", got, err)
	}
	var columns int
	if err := before.QueryRow(`SELECT count(*) FROM pragma_table_info('tasks') WHERE name IN ('kwargs', 'headers')`).Scan(&columns); err != nil || columns != 2 {
		t.Errorf("%d columns, %v", columns, err)
	}
}
