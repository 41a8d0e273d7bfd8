package processes_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/galeserver/gale/internal/redistest"
	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/test/harness"
)

// A worker that would not find the files of its tasks does not start, and says what to do. One
// that finds them, or runs no tasks for files, starts.
func TestWorkerWithoutTheFiles(t *testing.T) {
	t.Parallel()
	db := redistest.Start(t)
	o, err := redis.ParseURL(db.URL())
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(o)
	defer client.Close()
	announced := func(want bool) {
		t.Helper()
		testutil.Eventually(t, "the server has announced its folder, or has removed it", func() bool {
			return client.Exists(t.Context(), "gale:places").Val() == map[bool]int64{true: 1}[want]
		})
	}
	dir := t.TempDir()
	files := filepath.Join(dir, "data", "uploads")
	g := harness.Start(t, dir, "-procs", "1", "-workers", "0", "-broker", db.URL())
	announced(true)
	worker := []string{"worker", "-procs", "1", "-broker", db.URL()}
	serve := []string{"serve", "-port", "0", "-admin", "", "-procs", "1", "-workers", "1", "-broker", db.URL()}
	bucket := "s3://bucket/some/prefix?endpoint=http://127.0.0.1:1"
	for name, args := range map[string][]string{
		"worker":             worker,
		"server with worker": serve,
		"single":             append(serve[:len(serve):len(serve)], "-single"),
		"object storage":     append(worker[:len(worker):len(worker)], "-files", bucket),
	} {
		elsewhere := t.TempDir()
		here := filepath.Join(elsewhere, "data", "uploads")
		if name == "object storage" {
			here = "s3://bucket/some/prefix;"
		}
		code, _, errs := harness.Outcome(t, elsewhere, args...)
		if code != 1 || !strings.Contains(errs, "inspect") || !strings.Contains(errs, files+" on ") || !strings.Contains(errs, here) || !strings.Contains(errs, "-files") {
			t.Errorf("%s: %d %s", name, code, errs)
		}
	}
	for name, flags := range map[string][]string{
		"shared folder":   {"-upload-dir", files},
		"no upload tasks": {"-on-upload", ""},
		"other queue":     {"-queue", "other"},
	} {
		w, err := harness.Launch(t.TempDir(), append(worker[:len(worker):len(worker)], flags...)...)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		w.Kill()
	}
	if err := g.Cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	announced(false)
	harness.Start(t, t.TempDir(), worker...) // no server has another place
}

// The artifact of a worker on another machine gets a reason that says how to share artifacts.
func TestArtifactOfAnotherMachine(t *testing.T) {
	t.Parallel()
	db := redistest.StartAOF(t)
	dir := t.TempDir()
	g := harness.Start(t, dir, "-procs", "1", "-workers", "0", "-broker", db.URL())
	harness.Start(t, t.TempDir(), "worker", "-procs", "1", "-broker", db.URL(), "-upload-dir", filepath.Join(dir, "data", "uploads"))
	speech, err := filepath.Abs("demo/inspect/testdata/speech.wav")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(speech); err != nil {
		t.Fatal(err)
	}
	id := harness.Upload(t, g, "speech", speech).Files[0].Task
	if task := harness.AwaitTask(t, g, id); task.State != "success" {
		t.Fatalf("%+v", task)
	}
	for name, want := range map[string]string{"waveform.png": "-files", "other.png": "no such artifact"} {
		code, text, err := harness.Get(g.URL + "/tasks/" + id + "/artifacts/" + name)
		if err != nil || code != 404 || !strings.Contains(text, want) || strings.Contains(text, "-files") != (want == "-files") {
			t.Errorf("%s: %d %s, %v", name, code, text, err)
		}
	}
}
