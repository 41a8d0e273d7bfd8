package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"gale/jobs"
)

// A file of schema 1 is brought up to date with what is in it, and a process
// of the version before that still has it open goes on.
func TestMigrateFromSchema1(t *testing.T) {
	path := filepath.Join(t.TempDir(), "jobs.db")
	if err := create(path); err != nil {
		t.Fatal(err)
	}
	before, err := sql.Open(driverName, dsn(path, "busy_timeout(5000)"))
	if err != nil {
		t.Fatal(err)
	}
	defer before.Close()
	exec := func(statement string, args ...any) {
		t.Helper()
		if _, err := before.Exec(statement, args...); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	insert := func(id, state string, due any) { // as schema 1 did
		t.Helper()
		exec(`INSERT INTO tasks (version, id, queue, name, state, due, run_at, created, timeout, max_retries,
			attempts, lost, worker, progress, note, error, artifacts, failures, args, signature, group_seq, member)
			VALUES (1, ?1, 'default', 'work', ?2, ?3, ?4, ?4, 0, 0, 0, 0, '', 0, '', '', '[]', '[]', '[]', NULL, NULL, 0)`,
			id, state, due, time.Now().UnixMicro())
	}
	exec("PRAGMA journal_mode = WAL")
	exec(schema1)
	exec(fmt.Sprintf("PRAGMA application_id = %d; PRAGMA user_version = 1", applicationID))
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
		l, err := s.Lease(ctx, jobs.LeaseRequest{Owner: "w", Queues: []string{"default"}, Names: []string{"work"}, Max: 1})
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
