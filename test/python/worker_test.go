package python_test

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/test/harness"
)

// worker is a running Python worker.
type worker struct {
	cmd    *exec.Cmd
	log    *testutil.LogBuffer
	exited chan struct{} // closed when the process has ended
}

// startWorker starts a worker with the application in testdata.
func startWorker(t *testing.T, url string, flags ...string) *worker {
	t.Helper()
	source, err := filepath.Abs("clients/python/src")
	if err != nil {
		t.Fatal(err)
	}
	w := &worker{log: &testutil.LogBuffer{}, exited: make(chan struct{})}
	w.cmd = exec.Command(python, append([]string{"-B", "-m", "gale", "worker", "app"}, flags...)...)
	w.cmd.Dir = "test/python/testdata"
	w.cmd.Env = append(os.Environ(), "PYTHONPATH="+source, "GALE_URL="+url)
	w.cmd.Stdout, w.cmd.Stderr = w.log, w.log
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { // ends with the process
		_ = w.cmd.Wait()
		close(w.exited)
	}()
	t.Cleanup(func() {
		_ = w.cmd.Process.Kill() // its other processes end with it
		<-w.exited
		if t.Failed() {
			t.Logf("worker's log:\n%s", w.log)
		}
	})
	return w
}

// post enqueues a task and returns its id. It waits until a worker has announced its name.
func post(t *testing.T, g *harness.Server, id, name, args string) string {
	t.Helper()
	testutil.Eventually(t, "task "+name+" is accepted", func() bool {
		resp, _ := harness.Request(t, "POST", g.URL+"/tasks", fmt.Sprintf(`{"id":%q,"task":%q,"args":%s}`, id, name, args))
		return resp.StatusCode == http.StatusAccepted || resp.StatusCode == http.StatusOK
	})
	return id
}

func TestWorker(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, t.TempDir(), "-procs", "1", "-workers", "0")
	w := startWorker(t, g.URL, "-c", "2")
	if task := harness.AwaitTask(t, g, post(t, g, "sq", "square", "[7]")); string(task.Result) != "49" {
		t.Errorf("square: %+v", task)
	}
	if task := harness.AwaitTask(t, g, post(t, g, "third", "third_time", "[]")); string(task.Result) != "2" || task.Attempts != 3 {
		t.Errorf("third_time: %+v", task)
	}
	if task := harness.AwaitTask(t, g, post(t, g, "rep", "report", `["words"]`)); task.State != "success" {
		t.Errorf("report: %+v", task)
	}
	if _, text, err := harness.Get(g.URL + "/tasks/rep/log"); err != nil || !strings.Contains(text, "printed words") {
		t.Errorf("log: %q, %v", text, err)
	}
	if _, text, err := harness.Get(g.URL + "/tasks/rep/artifacts/text.txt"); err != nil || text != "words" {
		t.Errorf("artifact: %q, %v", text, err)
	}
	if resp, text := harness.Request(t, "POST", g.URL+"/tasks", `{"task":"square","args":["x"]}`); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("wrong argument: %d %s", resp.StatusCode, text)
	}
	_ = w.cmd.Process.Signal(syscall.SIGTERM)
	<-w.exited
	if w.cmd.ProcessState.ExitCode() != 0 {
		t.Errorf("the worker ended with %v", w.cmd.ProcessState)
	}
}

// Each process of a worker is killed while it runs a task. The task runs again.
func TestKilledProcesses(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, t.TempDir(), "-procs", "1", "-workers", "0")
	w := startWorker(t, g.URL, "-c", "1")
	for name, victim := range map[string]func(running int) int{
		"running": func(running int) int { return running },
		"second":  func(int) int { return childOf(t, w.cmd.Process.Pid) },
	} {
		dir := t.TempDir()
		id := post(t, g, name, "hold", fmt.Sprintf("[%q]", dir))
		first := awaitPID(t, dir, 0)
		if err := syscall.Kill(victim(first), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		second := awaitPID(t, dir, first)
		if err := os.WriteFile(filepath.Join(dir, "go"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if task := harness.AwaitTask(t, g, id); string(task.Result) != strconv.Itoa(second) || task.Attempts < 2 {
			t.Errorf("%s: %+v, want the result %d of the second attempt", name, task, second)
		}
	}
}

// awaitPID waits until a process other than the given one has put its id into dir.
func awaitPID(t *testing.T, dir string, other int) (pid int) {
	t.Helper()
	testutil.Eventually(t, "the task runs", func() bool {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if n, err := strconv.Atoi(e.Name()); err == nil && n != other {
				pid = n
			}
		}
		return pid != 0
	})
	return pid
}

// childOf returns the only child of a process.
func childOf(t *testing.T, pid int) int {
	t.Helper()
	all := children(pid)
	if len(all) != 1 {
		t.Fatalf("children of %d: %d", pid, all)
	}
	return all[0]
}

// children returns the children of a process; none if it has ended.
func children(pid int) (all []int) {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid)) // the pattern is valid
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // the thread has ended
		}
		for word := range strings.FieldsSeq(string(text)) {
			if child, err := strconv.Atoi(word); err == nil {
				all = append(all, child)
			}
		}
	}
	return all
}
