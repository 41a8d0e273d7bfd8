package tasks_test

import (
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"testing"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/test/harness"
)

// server tasks purge cancels ten thousand queued tasks, but none of another queue or
// name, and no running task. A workflow of purged tasks fails.
func TestPurge(t *testing.T) {
	harness.OnTaskStores(t, func(t *testing.T, where []string) {
		dir := t.TempDir()
		file := harness.TasksFile(t, `
			[tasks.say]
			argv = ["echo", "hello"]
			[tasks.nap]
			argv = ["sleep", "600"]`)
		g := harness.Start(t, dir, append([]string{"-procs", "1", "-workers", "1", "-concurrency", "2", "-tasks", file, "-queue", "default,talk"}, where...)...)
		purge := func(args ...string) (code int, out, errs string) {
			t.Helper()
			return harness.Outcome(t, dir, append(append([]string{"tasks", "purge"}, args...), where...)...)
		}
		harness.Command(t, dir, append([]string{"tasks", "queues", "pause", "talk"}, where...)...)
		runs := harness.PostTask(t, g, `{"task":"nap"}`)
		testutil.Eventually(t, "the task is running", func() bool { return harness.GetTask(t, g, runs.ID).State == "running" })
		members := strings.TrimSuffix(strings.Repeat(`{"task":"say","queue":"talk"},`, 1000), ",")
		chord := harness.PostWorkflow(t, g, `{"group":[`+members+`],"callback":{"task":"say","immutable":true}}`)
		for range 9 {
			harness.PostWorkflow(t, g, `{"group":[`+members+`]}`)
		}
		other := harness.PostTask(t, g, `{"task":"nap","queue":"talk"}`)
		later := harness.PostTask(t, g, `{"task":"say","countdown":3600}`)

		for _, args := range [][]string{{}, {"-state", "running", "-yes"}, {"-state", "gone", "-yes"}, {"-queue", "", "-yes"}, {"stray", "-yes"}} {
			if code, _, errs := purge(args...); code != 2 || errs == "" {
				t.Errorf("%q: %d %s", args, code, errs)
			}
		}
		if code, out, errs := purge("-yes", "-task", "say", "-queue", "talk"); code != 0 || out != "tasks purged: 10000\n" {
			t.Errorf("%d %q %q", code, out, errs)
		}
		for id, state := range map[string]string{runs.ID: "running", other.ID: "queued", later.ID: "scheduled", chord.Tasks[0]: "cancelled", chord.Tasks[999]: "cancelled", chord.Callback: "failed"} {
			if task := harness.GetTask(t, g, id); task.State != state || state == "cancelled" && task.Error != "purged" {
				t.Errorf("%+v, want %s", task, state)
			}
		}
		var f harness.Workflow
		if harness.GetJSON(t, g.URL+"/workflows/"+chord.ID, &f); f.State != "failed" || f.Failed != 1000 || f.Error != "purged" {
			t.Errorf("%+v", f)
		}
		if code, out, errs := purge("-yes", "-json", "-state", "queued,scheduled"); code != 0 || out != `{"purged":2}`+"\n" {
			t.Errorf("%d %q %q", code, out, errs)
		}
		if task := harness.GetTask(t, g, runs.ID); task.State != "running" {
			t.Errorf("%+v", task)
		}

		purgeOnTerminal(t, g, dir, where)
		harness.Command(t, dir, append([]string{"tasks", "cancel", runs.ID}, where...)...) // else the server waits for it at the end of the test
	})
}

// purgeOnTerminal runs server tasks purge on a terminal, where it asks for confirmation.
func purgeOnTerminal(t *testing.T, g *harness.Server, dir string, where []string) {
	t.Helper()
	harness.PostTask(t, g, `{"task":"say","id":"asked","countdown":3600}`)
	for _, input := range []string{"n\n", "y\n"} {
		ptm, pts := terminal(t)
		cmd := exec.Command(harness.Binary(), append([]string{"tasks", "purge"}, where...)...)
		cmd.Dir, cmd.Stdin, cmd.Stderr = dir, pts, pts
		var seen, out testutil.LogBuffer
		cmd.Stdout = &out
		go io.Copy(&seen, ptm) // ends with the terminal
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if t.Failed() {
				t.Logf("terminal: %q", seen.String())
			}
		})
		testutil.Eventually(t, "it asks for confirmation", func() bool { return strings.Contains(seen.String(), "[y/N] ") })
		if _, err := fmt.Fprint(ptm, input); err != nil {
			t.Fatal(err)
		}
		err := cmd.Wait()
		exited, failed := errors.AsType[*exec.ExitError](err)
		if yes := input == "y\n"; yes && (err != nil || out.String() != "tasks purged: 1\n") || !yes && (!failed || exited.ExitCode() != 1) {
			t.Errorf("%q: %v %q %q", input, err, out.String(), seen.String())
		}
		if state := harness.GetTask(t, g, "asked").State; (state == "cancelled") != (input == "y\n") {
			t.Errorf("after the input %q the task is %s", input, state)
		}
	}
}
