// Package programs_test tests worker programs that the server runs, from outside.
package programs_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/test/harness"
)

// table returns a table [workers.NAME] that runs this binary in a mode.
func table(t *testing.T, name, mode, more string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("[workers.%s]\nargv = [%q, %q]\nqueues = [\"default\", \"low\"]\n%s\n", name, self, mode, more)
}

// write replaces the content of a tasks file.
func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// awaitLive waits until a slot has announced its program, with another process than before.
func awaitLive(t *testing.T, g *harness.Server, slot string, before int) (s harness.SlotStatus) {
	t.Helper()
	testutil.Eventually(t, slot+" is live", func() bool {
		code, text, err := harness.Get("http://" + g.Admin + "/status")
		if err != nil || code != 200 {
			return false // as during a reload
		}
		var status struct{ Slots []harness.SlotStatus }
		if err := json.Unmarshal([]byte(text), &status); err != nil {
			t.Fatal(err)
		}
		for _, one := range status.Slots {
			if one.Slot == slot {
				s = one
			}
		}
		return s.State == "live" && s.PID != before
	})
	return s
}

var workerPID = regexp.MustCompile(`slot=(\S+) .*line="worker pid (\d+) `)

// programs returns the pids of the programs that a slot has started, oldest first.
func programs(t *testing.T, g *harness.Server, slot string) (pids []int) {
	t.Helper()
	for _, m := range workerPID.FindAllStringSubmatch(g.Log.String(), -1) {
		pid, err := strconv.Atoi(m[2])
		if err != nil {
			t.Fatal(err)
		}
		if m[1] == slot {
			pids = append(pids, pid)
		}
	}
	return pids
}

func awaitLog(t *testing.T, g *harness.Server, text string) {
	t.Helper()
	testutil.Eventually(t, "the log contains "+text, func() bool { return strings.Contains(g.Log.String(), text) })
}

// awaitGone waits until a process has ended.
func awaitGone(t *testing.T, what string, pid int) {
	t.Helper()
	testutil.Eventually(t, what+" has ended", func() bool {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		return err != nil || strings.Contains(string(text), ") Z ")
	})
}

// greet runs a task and returns its result.
func greet(t *testing.T, g *harness.Server, name string) (text string) {
	t.Helper()
	posted := harness.PostTask(t, g, fmt.Sprintf(`{"task":"greet","args":[%q]}`, name))
	task := harness.AwaitTask(t, g, posted.ID)
	if err := json.Unmarshal(task.Result, &text); err != nil {
		t.Fatalf("%+v: %v", task, err)
	}
	return text
}

// fork runs the task fork and returns its result.
func fork(t *testing.T, g *harness.Server) (pid int) {
	t.Helper()
	posted := harness.PostTask(t, g, `{"task":"fork"}`)
	task := harness.AwaitTask(t, g, posted.ID)
	if err := json.Unmarshal(task.Result, &pid); err != nil {
		t.Fatalf("%+v: %v", task, err)
	}
	return pid
}

// hold starts the task hold and waits until a program runs it. release ends it.
func hold(t *testing.T, g *harness.Server) (id string, release func()) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "release")
	id = harness.PostTask(t, g, fmt.Sprintf(`{"task":"hold","args":[%q]}`, file)).ID
	awaitLog(t, g, "holding "+id)
	return id, func() { write(t, file, "") }
}

// A reload replaces programs, adds and removes them; a faulty file changes nothing.
func TestReload(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := harness.TasksFile(t, table(t, "first", "one", "slots = 2"))
	g := harness.Start(t, dir, "-procs", "1", "-tasks", file, "-max-requests", "100000")
	first := awaitLive(t, g, "first.0", 0)
	awaitLive(t, g, "first.1", 0)
	if got := greet(t, g, "you"); !strings.HasPrefix(got, "one greets you from first.") {
		t.Errorf("result %q", got)
	}
	if !strings.Contains(g.Log.String(), `queues default,low secret "`) {
		t.Error("environment of the program: queues are missing, or variables that env does not name are present")
	}
	if first.RSS < 2<<20 {
		t.Errorf("resident memory of the slot: %d", first.RSS)
	}

	write(t, file, strings.ReplaceAll(table(t, "first", "x", ""), "argv = [", "argv = [\"no-such-program\", ")+"[workers.serve]\nslot = 1\n")
	code, _, errs := harness.Outcome(t, dir, "check", "-tasks", file)
	for _, want := range []string{"workers.first: argv: find no-such-program", "workers.serve: argv: is empty", "workers.serve.slot: unknown key", "workers.serve: the server has slots of this name"} {
		if code != 2 || !strings.Contains(errs, want) {
			t.Errorf("check: %d, %s\n  want %q", code, errs, want)
		}
	}
	_ = g.Cmd.Process.Signal(syscall.SIGHUP)
	awaitLog(t, g, "reload failed, nothing is changed")
	if got := greet(t, g, "still"); !strings.HasPrefix(got, "one greets still") {
		t.Errorf("after a refused reload: %q", got)
	}

	write(t, file, table(t, "first", "two", "")+table(t, "second", "three", ""))
	_ = g.Cmd.Process.Signal(syscall.SIGHUP)
	awaitLog(t, g, "msg=reloaded")
	awaitLive(t, g, "first.0", first.PID)
	awaitLive(t, g, "second.0", 0)
	testutil.Eventually(t, "first.1 is removed", func() bool { _, ok := g.Slots(t)["first.1"]; return !ok })
	if got := greet(t, g, "new"); !strings.HasPrefix(got, "two greets new") && !strings.HasPrefix(got, "three greets new") {
		t.Errorf("after the reload: %q", got)
	}

	write(t, file, table(t, "second", "three", ""))
	_ = g.Cmd.Process.Signal(syscall.SIGHUP)
	testutil.Eventually(t, "first.0 is removed", func() bool {
		_, status, err := harness.Get("http://" + g.Admin + "/status")
		return err == nil && strings.Contains(status, "second.0") && !strings.Contains(status, "first.0")
	})
	if got := greet(t, g, "last"); got != "three greets last from second.0" {
		t.Errorf("after the removal: %q", got)
	}
	if n := strings.Count(g.Log.String(), "child exited unexpectedly"); n != 0 {
		t.Errorf("%d unexpected exits", n)
	}
}

// Whatever is killed, no process stays behind, and the task of a killed program runs again.
func TestKilled(t *testing.T) {
	harness.OnTaskStores(t, func(t *testing.T, where []string) {
		dir := t.TempDir()
		args := append([]string{"-procs", "1", "-grace", "2s", "-tasks", harness.TasksFile(t, table(t, "go", "one", ""))}, where...)
		g := harness.Start(t, dir, args...)
		s := awaitLive(t, g, "go.0", 0)

		left := fork(t, g)
		held, release := hold(t, g)
		first := programs(t, g, "go.0")[0]
		_ = syscall.Kill(first, syscall.SIGKILL)
		awaitGone(t, "what the killed program has started", left)
		awaitLog(t, g, `the program has ended: signal: killed`)
		s = awaitLive(t, g, "go.0", s.PID)
		testutil.Eventually(t, "the task runs again", func() bool { return strings.Count(g.Log.String(), "holding "+held) == 2 })
		if s.Restarts != 1 {
			t.Errorf("restarts: %+v", s)
		}

		left = fork(t, g)
		second := programs(t, g, "go.0")[1]
		_ = syscall.Kill(s.PID, syscall.SIGKILL)
		awaitGone(t, "the program of a killed process", second)
		awaitGone(t, "what it has started", left)
		s = awaitLive(t, g, "go.0", s.PID)
		testutil.Eventually(t, "the task runs again", func() bool { return strings.Count(g.Log.String(), "holding "+held) == 3 })
		awaitLog(t, g, "tasks of a killed program are due again") // and not when the lease has expired

		left = fork(t, g)
		third := programs(t, g, "go.0")[2]
		_ = g.Cmd.Process.Kill()
		awaitGone(t, "the process of a killed master", s.PID)
		awaitGone(t, "its program", third)
		awaitGone(t, "what it has started", left)
		again := harness.Start(t, dir, args...)
		testutil.Eventually(t, "the task runs again", func() bool { return strings.Contains(again.Log.String(), "holding "+held) })
		release()
		if task := harness.AwaitTask(t, again, held); task.State != "success" || string(task.Result) != `"released"` {
			t.Errorf("the task: %+v", task)
		}
		if entries, err := os.ReadDir(filepath.Join(dir, "data", "workers")); err != nil || len(entries) != 1 {
			t.Errorf("folders of programs: %v, %v; want that of the running one", entries, err)
		}
	})
}

// On TERM a program finishes its tasks. One that ignores TERM is killed after its grace
// period, with what it has started; its tasks run again and are not counted as lost.
func TestStop(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := harness.TasksFile(t, table(t, "polite", "polite", ""))
	g := harness.Start(t, dir, "-procs", "1", "-tasks", file)
	awaitLive(t, g, "polite.0", 0)
	id, release := hold(t, g)
	_ = g.Cmd.Process.Signal(syscall.SIGTERM)
	awaitLog(t, g, "msg=stopping")
	release()
	if err := g.Wait(); err != nil || !strings.Contains(g.Log.String(), "worker leaves") {
		t.Errorf("exit %v", err)
	}

	write(t, file, table(t, "stubborn", "stubborn", "grace = 0.2"))
	g = harness.Start(t, dir, "-procs", "1", "-tasks", file)
	awaitLive(t, g, "stubborn.0", 0)
	if task := harness.AwaitTask(t, g, id); task.State != "success" || task.Attempts != 1 {
		t.Errorf("task that the program has finished after TERM: %+v", task)
	}
	id, release = hold(t, g)
	left, program := fork(t, g), programs(t, g, "stubborn.0")[0]
	_ = g.Cmd.Process.Signal(syscall.SIGTERM)
	if err := g.Wait(); err != nil || !strings.Contains(g.Log.String(), "program still runs after its grace period") {
		t.Errorf("exit %v", err)
	}
	awaitLog(t, g, `msg="tasks of the program are due again" slot=stubborn.0`)
	if strings.Contains(g.Log.String(), "lost=true") {
		t.Error("a task that the server has stopped counts as lost")
	}
	awaitGone(t, "the program that ignores TERM", program)
	awaitGone(t, "what it has started", left)
	g = harness.Start(t, dir, "-procs", "1", "-tasks", file)
	release()
	if task := harness.AwaitTask(t, g, id); task.State != "success" {
		t.Errorf("task of a program that was killed: %+v", task)
	}
}

// A program is replaced after max_tasks and max_rss. Its successor is ready before it gets
// TERM.
func TestRecycle(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, t.TempDir(), "-procs", "1", "-tasks", harness.TasksFile(t, table(t, "few", "few", "max_tasks = 2")))
	for i := range 3 {
		s := awaitLive(t, g, "few.0", 0)
		for range 2 {
			greet(t, g, fmt.Sprint(i))
		}
		awaitLive(t, g, "few.0", s.PID)
	}
	if s := g.Slots(t)["few.0"]; s.Restarts != 0 || !strings.Contains(g.Log.String(), "request limit reached: ") {
		t.Errorf("%+v", s)
	}
	m := g.Metrics(t)
	testutil.Eventually(t, "all tasks are in the metrics of the slot", func() bool {
		m = g.Metrics(t)
		return m.Sum("gale_task_events_total", "slot=few.0", "event=succeeded", "task=greet") == 6
	})
	if m.Sum("gale_slot_processes_total", "slot=few.0") < 4 || m["gale_program_memory_bytes"] == nil || m["gale_program_output_dropped_total"] == nil {
		t.Error("metrics of the slot")
	}
	fat := harness.Start(t, t.TempDir(), "-procs", "1", "-tasks", harness.TasksFile(t, table(t, "fat", "fat", `max_rss = "1MiB"`)))
	awaitLog(t, fat, "memory limit reached: ")
}

// A program that crashes does not keep the server from its work.
func TestCrash(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, t.TempDir(), "-procs", "1", "-tasks", harness.TasksFile(t, table(t, "bad", "crash", "")))
	harness.AwaitReady(t, g, 200)
	testutil.Eventually(t, "the program is started again", func() bool { return g.Slots(t)["bad.0"].Restarts >= 4 })
	awaitLog(t, g, "the program has ended: exit status 5")
}

// Worker programs run without serving processes, and in one process.
func TestOtherModes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := harness.TasksFile(t, table(t, "go", "one", ""))
	g := harness.Start(t, dir, "-single", "-tasks", file, "-workers", "0")
	if _, ok := g.Slots(t)["go.0"]; ok {
		t.Error("-workers 0 runs a program")
	}
	alone := harness.Start(t, dir, "worker", "-procs", "1", "-tasks", file)
	awaitLog(t, alone, `msg="child ready" slot=go.0`)
	if got := greet(t, g, "you"); got != "one greets you from go.0" {
		t.Errorf("server worker: %q", got)
	}
	_ = alone.Cmd.Process.Signal(syscall.SIGTERM)
	if err := alone.Wait(); err != nil {
		t.Error(err)
	}
	single := harness.Start(t, dir, "-single", "-tasks", file)
	awaitLog(t, single, `msg="part ready" slot=go.0`)
	if got := greet(t, single, "me"); got != "one greets me from go.0" {
		t.Errorf("-single: %q", got)
	}
	left := fork(t, single)
	_ = single.Cmd.Process.Signal(syscall.SIGTERM)
	if err := single.Wait(); err != nil {
		t.Error(err)
	}
	awaitGone(t, "what the program has started", left)
}

// The path of a socket is limited, that of a folder is not.
func TestLongPath(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), strings.Repeat("long", 20), strings.Repeat("path", 20))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	g := harness.Start(t, dir, "-procs", "1", "-tasks", harness.TasksFile(t, table(t, "go", "one", "")))
	awaitLive(t, g, "go.0", 0)
	if got := greet(t, g, "you"); got != "one greets you from go.0" {
		t.Errorf("result %q", got)
	}
}

// The program of docs/howto/write-a-worker.md works.
func TestShippedWorker(t *testing.T) {
	t.Parallel()
	script, err := filepath.Abs("deploy/worker.sh")
	if err != nil {
		t.Fatal(err)
	}
	g := harness.Start(t, t.TempDir(), "-procs", "1", "-tasks", harness.TasksFile(t, fmt.Sprintf("[workers.words]\nargv = [\"sh\", %q]\nqueues = [\"default\", \"low\"]", script)))
	awaitLive(t, g, "words.0", 0)
	posted := harness.PostTask(t, g, `{"task":"word_count","args":["three short words"],"queue":"low"}`)
	if task := harness.AwaitTask(t, g, posted.ID); string(task.Result) != "3" {
		t.Errorf("%+v", task)
	}
	_ = g.Cmd.Process.Signal(syscall.SIGTERM)
	if err := g.Wait(); err != nil || strings.Contains(g.Log.String(), "program still runs") {
		t.Errorf("exit %v", err)
	}
}
