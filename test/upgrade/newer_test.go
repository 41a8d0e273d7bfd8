package upgrade_test

import (
	"database/sql"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/galeserver/gale/internal/redistest"
	"github.com/galeserver/gale/test/harness"
)

// A server does not start on the tasks of a newer version in SQLite. It names the file and
// changes nothing.
func TestSQLiteOfNewerVersion(t *testing.T) {
	t.Parallel()
	dir := copyOf(t, versions[0], "sqlite")
	file := filepath.Join(dir, "data", "jobs.db")
	db, err := sql.Open("sqlite", file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(t.Context(), "PRAGMA user_version = 1000"); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"serve", "worker"} {
		cmd := exec.Command(harness.Binary(), harness.OnFreePorts([]string{command, "-procs", "1"})...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err == nil || strings.Count(string(out), "\n") != 1 || !strings.Contains(string(out), "jobs.db: its schema 1000 was made by a newer version of the program") {
			t.Errorf("%s: %v\n%s", command, err, out)
		}
	}
	after, err := os.ReadFile(file)
	if err != nil || string(after) != string(before) {
		t.Errorf("the file was changed: %v", err)
	}
}

// A server refuses the tasks of a newer version in Redis, with a reason in its log, and serves
// everything else.
func TestRedisOfNewerVersion(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	if err := redis.Client().Set(t.Context(), "{gale:jobs}:format", 1000, 0).Err(); err != nil {
		t.Fatal(err)
	}
	g := harness.Start(t, t.TempDir(), "-procs", "1", "-workers", "1", "-broker", redis.URL())
	if resp, body := harness.Request(t, "POST", g.URL+"/tasks", `{"task":"long_running_task","id":"a"}`); resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("POST /tasks: %d %s", resp.StatusCode, body)
	}
	g.Log.Await(t, "newer version of the program")
	if code, body, err := harness.Get(g.URL + "/"); err != nil || code != 200 {
		t.Errorf("GET /: %d %s %v", code, body, err)
	}
	if n := redis.Client().Exists(t.Context(), "{gale:jobs}:task:a").Val(); n != 0 {
		t.Error("the task was stored")
	}
}
