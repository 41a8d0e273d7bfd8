// Package upgrade_test starts this version on the state of an earlier one. freeze.sh
// describes the state and creates it.
package upgrade_test

import (
	"database/sql"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"github.com/galeserver/gale/internal/redistest"
	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/test/harness"
)

const folder = "test/upgrade/testdata"

// versions are the earlier versions whose state is kept.
var versions = []string{"0.1.0"}

// kept copies the state of an earlier version, by kind of task store. It returns the folder,
// and the flags for the task store.
var kept = map[string]func(t *testing.T, version string) (dir string, flags []string){
	"sqlite": func(t *testing.T, version string) (string, []string) {
		dir := copyOf(t, version, "sqlite")
		renew(t, filepath.Join(dir, "data", "jobs.db"))
		return dir, nil
	},
	"redis": func(t *testing.T, version string) (string, []string) {
		dir := copyOf(t, version, "redis")
		return dir, []string{"-broker", redistest.Start(t, "--dir", dir, "--dbfilename", "dump.rdb").URL()}
	},
}

func copyOf(t *testing.T, version, store string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(folder, version, store))); err != nil {
		t.Fatal(err)
	}
	return dir
}

// renew sets the end of the ended tasks to now, so that their retention is not over. The
// schedule has missed its moments of two years.
func renew(t *testing.T, file string) {
	t.Helper()
	db, err := sql.Open("sqlite", file)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	now := time.Now()
	for _, change := range []struct {
		statement string
		at        time.Time
	}{
		{"UPDATE tasks SET finished = ? WHERE finished IS NOT NULL", now},
		{"UPDATE groups SET finished = ? WHERE finished IS NOT NULL", now},
		{"UPDATE marks SET at = ? WHERE name = 'schedule:yearly'", now.AddDate(-2, 0, 0)},
	} {
		if _, err := db.ExecContext(t.Context(), change.statement, change.at.UnixMicro()); err != nil {
			t.Fatal(err)
		}
	}
}

// Tasks that an earlier version has accepted run, and what it has stored is available:
// tasks in each state, an unfinished chain and chord, a schedule, files, and half of a
// resumable upload.
func TestStateOfEarlierVersion(t *testing.T) {
	t.Parallel()
	for _, version := range versions {
		for store, open := range kept {
			t.Run(version+" "+store, func(t *testing.T) {
				t.Parallel()
				dir, flags := open(t, version)
				continues(t, dir, store, flags)
			})
		}
	}
}

// continues starts a server on the kept state in dir.
func continues(t *testing.T, dir, store string, flags []string) {
	tasks, err := filepath.Abs(filepath.Join(folder, "tasks.toml"))
	if err != nil {
		t.Fatal(err)
	}
	g := harness.Start(t, dir, append([]string{
		"-procs", "2", "-workers", "1", "-queue", "default,later,paused", "-tasks", tasks, "-upload-expiry", "1000000h",
	}, flags...)...)
	for id, want := range map[string]string{
		"waits": "waits", "unique": "once", "chain-2": "begun", "chain-3": "end begun", "member-2": "m2", "callback": "m1 m2",
		"new-1": "not begun", "new-2": "not begun", "running": "over", "retrying": "repaired",
	} {
		if got := awaitOutput(t, g, id); got != want {
			t.Errorf("%s: %q, want %q", id, got, want)
		}
	}
	if store == "sqlite" { // in Redis the retention of the ended tasks is over
		ended(t, g, dir)
		missed(t, g)
	}
	waiting(t, g)
	files(t, g, dir)
}

// awaitOutput waits for a task, which may not exist yet, and returns its output.
func awaitOutput(t *testing.T, g *harness.Server, id string) string {
	t.Helper()
	var task harness.Task
	testutil.Eventually(t, id+" succeeds", func() bool {
		code, body, err := harness.Get(g.URL + "/tasks/" + id + "?wait=5s")
		return err == nil && code == 200 && json.Unmarshal([]byte(body), &task) == nil && task.State == "success"
	})
	var result struct{ Output string }
	if err := json.Unmarshal(task.Result, &result); err != nil {
		t.Errorf("%s: %s: %v", id, task.Result, err)
	}
	return result.Output
}

// ended checks what had ended before: results, workflows and an artifact.
func ended(t *testing.T, g *harness.Server, dir string) {
	t.Helper()
	if got := awaitOutput(t, g, "done"); got != "done" {
		t.Errorf("done: %q", got)
	}
	for _, id := range []string{"chain-1", "chord", "new-1"} {
		var f harness.Workflow
		testutil.Eventually(t, "workflow "+id+" succeeds", func() bool {
			harness.GetJSON(t, g.URL+"/workflows/"+id, &f)
			return f.State == "success"
		})
	}
	for _, state := range []string{"failed", "cancelled", "dead"} {
		if task := harness.GetTask(t, g, state); task.State != state {
			t.Errorf("the task %s is %s", state, task.State)
		}
	}
	if resp, body := harness.Request(t, "POST", g.URL+"/tasks/dead/retry", ""); resp.StatusCode != http.StatusOK {
		t.Errorf("retry of a dead letter: %d %s", resp.StatusCode, body)
	}
	if got := awaitOutput(t, g, "dead"); got != "harmless" {
		t.Errorf("dead: %q", got)
	}
	var upload harness.UploadResponse
	text, err := os.ReadFile(filepath.Join(dir, "upload.json"))
	if err == nil {
		err = json.Unmarshal(text, &upload)
	}
	if err != nil {
		t.Fatal(err)
	}
	code, picture, err := harness.Get(g.URL + "/tasks/" + upload.Files[0].Task + "/artifacts/waveform.png")
	if err != nil || code != 200 || !strings.HasPrefix(picture, "\x89PNG") {
		t.Errorf("artifact: %d %.20q %v", code, picture, err)
	}
}

// missed checks that the schedule has run once for its missed moments, and continues.
func missed(t *testing.T, g *harness.Server) {
	t.Helper()
	var list struct{ Tasks []harness.Task }
	testutil.Eventually(t, "the missed moment is run", func() bool {
		harness.GetJSON(t, g.URL+"/tasks?task=yearly", &list)
		return len(list.Tasks) > 0
	})
	if len(list.Tasks) != 1 {
		t.Errorf("%d tasks of the schedule: %+v", len(list.Tasks), list.Tasks)
	}
}

// waiting checks what has not started: a scheduled task, a paused queue, a unique key.
func waiting(t *testing.T, g *harness.Server) {
	t.Helper()
	if task := harness.GetTask(t, g, "scheduled"); task.State != "scheduled" {
		t.Errorf("the scheduled task is %s", task.State)
	}
	paused := harness.PostTask(t, g, `{"task":"say","args":["x"],"queue":"paused"}`)
	var again harness.CommandTask
	if code := harness.SendJSON(t, "POST", g.URL+"/tasks", `{"task":"say","args":["twice"],"queue":"later","unique":"key","unique_for":"1h"}`, &again); code != 200 || again.ID != "unique" {
		t.Errorf("the unique key is not held: %d %s", code, again.ID)
	}
	harness.AwaitTask(t, g, harness.PostTask(t, g, `{"task":"say","args":["later than the paused one"]}`).ID)
	if task := harness.GetTask(t, g, paused.ID); task.State != "queued" {
		t.Errorf("a task of the paused queue is %s", task.State)
	}
}

// files checks the uploaded files, and completes the resumable upload.
func files(t *testing.T, g *harness.Server, dir string) {
	t.Helper()
	want, err := os.ReadFile(filepath.Join(dir, "data", "uploads", "a", "speech.wav"))
	if err != nil {
		t.Fatal(err)
	}
	if code, got, err := harness.Get(g.URL + "/upload/a/speech.wav"); err != nil || code != 200 || got != string(want) {
		t.Errorf("speech.wav: %d, %d bytes, %v", code, len(got), err)
	}
	if code, got, err := harness.Get(g.URL + "/upload/a/whole.txt"); err != nil || code != 200 || got != "01234" {
		t.Errorf("whole.txt: %d %q, %v", code, got, err)
	}
	half, err := os.ReadFile(filepath.Join(dir, "half"))
	if err != nil {
		t.Fatal(err)
	}
	place := strings.TrimSpace(string(half))
	resp, err := harness.TusDo(g, "HEAD", place, nil)
	if err != nil || resp.Status != 200 || resp.Header.Get("Upload-Offset") != "5" {
		t.Fatalf("HEAD %s: %+v, %v", place, resp, err)
	}
	resp, err = harness.TusDo(g, "PATCH", place, strings.NewReader("56789"), harness.OffsetStream, "Upload-Offset: 5")
	if err != nil || resp.Status != 204 {
		t.Fatalf("PATCH: %+v, %v", resp, err)
	}
	if code, got, err := harness.Get(g.URL + "/upload/a/half.txt"); err != nil || code != 200 || got != "0123456789" {
		t.Errorf("half.txt: %d %q, %v", code, got, err)
	}
}
