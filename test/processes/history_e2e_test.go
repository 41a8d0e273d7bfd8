//go:build e2e

package processes_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/test/harness"
)

// The history survives a reload and a kill of the master.
func TestE2EHistory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	g := harness.Start(t, dir, "-procs", "1", "-workers", "1")
	for range 50 {
		harness.Request(t, "GET", g.URL+"/", "")
	}
	total := func() (requests float64) { return readHistory(t, g).sum("hour", "requests") }
	testutil.Eventually(t, "the requests are in the history", func() bool { return total() > 0 })
	h := readHistory(t, g)
	if h.sum("day", "requests") == 0 || len(h.Series["hour"].Values["latency_p95"]) == 0 {
		t.Errorf("%+v", h)
	}
	if waiting := h.Series["hour"].Values["tasks_waiting"]; waiting[len(waiting)-1] == nil {
		t.Error("the number of waiting tasks is unknown")
	}

	had := total()
	if err := g.Cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	testutil.Eventually(t, "reloaded", func() bool { return strings.Contains(g.Log.String(), "msg=reloaded") })
	if got := total(); got < had {
		t.Errorf("after the reload: %v requests, %v before", got, had)
	}

	file := filepath.Join(dir, "data", "history")
	testutil.Eventually(t, "the file has the requests", func() bool { return inFile(t, file) > 0 })
	if info, err := os.Stat(file); err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	g.Kill()
	g = harness.Start(t, dir, "-procs", "1", "-workers", "1")
	if got := total(); got == 0 {
		t.Error("after a kill: no requests")
	}
}

// inFile returns the number of requests in the last hour of a history file; 0 if there is
// none, or if it has not been written yet.
func inFile(t *testing.T, file string) float64 {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil || len(text) == 0 {
		return 0
	}
	var h history
	first, rest, _ := strings.Cut(string(text), "\n")
	if err := json.Unmarshal([]byte(rest), &h.Series); !strings.HasPrefix(first, "gale-history 1 ") || err != nil {
		t.Fatalf("%s, %v", first, err)
	}
	return h.sum("hour", "requests")
}

// A full disk is one line in the log, and the server continues.
func TestE2EHistoryOnAFullDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "data"), 0o700); err != nil {
		t.Fatal(err)
	}
	disk := filepath.Join(dir, "data")
	if err := syscall.Mount("gale-test", disk, "tmpfs", 0, "size=16m"); err != nil {
		t.Fatalf("mount a small tmpfs: %v: run this test as root (CAP_SYS_ADMIN)", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(disk, syscall.MNT_FORCE|0x2 /* MNT_DETACH */) })
	g := harness.Start(t, dir, "-procs", "1", "-workers", "0")
	fill, err := os.Create(filepath.Join(disk, "fill"))
	if err != nil {
		t.Fatal(err)
	}
	for piece := make([]byte, 4096); ; {
		if _, err := fill.Write(piece); err != nil {
			break // the disk is full
		}
	}
	testutil.Eventually(t, "a line in the log", func() bool { return strings.Contains(g.Log.String(), "cannot write the history") })
	if code, _, err := harness.Get(g.URL + "/"); code != 200 {
		t.Errorf("%d, %v", code, err)
	}
	if err := g.Cmd.Process.Signal(syscall.SIGTERM); err != nil { // writes the file again
		t.Fatal(err)
	}
	_ = g.Wait() // the log is complete
	if got := strings.Count(g.Log.String(), "cannot write the history"); got != 1 {
		t.Errorf("%d lines\n%s", got, g.Log)
	}
	if left, err := filepath.Glob(filepath.Join(disk, "history.*")); err != nil || len(left) != 0 {
		t.Errorf("%q, %v", left, err)
	}
}
