package tasks_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/test/harness"
)

// The rate of a task limits its starts over two workers, and not those of other
// tasks.
func TestRateOverWorkers(t *testing.T) {
	harness.OnTaskStores(t, func(t *testing.T, where []string) {
		file := harness.TasksFile(t, `
			[tasks.rare]
			argv = ["true"]
			rate = "3/s"
			[tasks.plain]
			argv = ["true"]`)
		g := harness.Start(t, t.TempDir(), append([]string{"-procs", "1", "-workers", "2", "-tasks", file}, where...)...)
		const n = 7
		var ids []string
		for range n {
			ids = append(ids, harness.PostTask(t, g, `{"task":"rare"}`).ID)
		}
		if task := harness.RunTask(t, g, "plain"); task.State != "success" {
			t.Errorf("%+v", task)
		}
		var begun []time.Time
		for _, id := range ids {
			var task struct {
				State   string
				Started time.Time
			}
			harness.GetJSON(t, g.URL+"/tasks/"+id+"?wait=20s", &task)
			if task.State != "success" {
				t.Fatalf("%+v", task)
			}
			begun = append(begun, task.Started)
		}
		// 7 starts at 3 a second take two seconds. The limit allows a tenth less.
		if span := begun[n-1].Sub(begun[0]); span < 1890*time.Millisecond {
			t.Errorf("%d started within %v", n, span)
		}
	})
}

// A chain passes the output of a command to the next one, the callback of a chord runs
// after a hundred members, and a failed workflow names the task that failed.
func TestWorkflows(t *testing.T) {
	harness.OnTaskStores(t, func(t *testing.T, where []string) {
		file := harness.TasksFile(t, `
			[tasks.say]
			argv = ["echo", "{0}"]
			[tasks.join]
			argv = ["echo", "{0}", "and", "{1}"]
			[tasks.option]
			argv = ["printf", "%s", "-n"]
			[tasks.fail]
			argv = ["sh", "-c", "echo no luck; exit 3"]`)
		g := harness.Start(t, t.TempDir(), append([]string{"-procs", "1", "-workers", "1", "-concurrency", "16", "-tasks", file}, where...)...)
		await := func(id string) (f harness.Workflow) {
			t.Helper()
			harness.GetJSON(t, g.URL+"/workflows/"+id+"?wait=50s", &f)
			return f
		}
		// A result is checked like an argument from a client.
		chain := harness.PostWorkflow(t, g, `{"id":"my-chain","chain":[{"task":"option"},{"task":"say","timeout":"1m"},{"task":"say"}]}`)
		if chain.ID != "my-chain" || chain.Kind != "chain" || len(chain.Tasks) != 3 {
			t.Errorf("%+v", chain)
		}
		if f := await(chain.ID); f.State != "failed" || f.FailedTask != chain.Tasks[1] || f.Succeeded != 1 || !strings.Contains(f.Error, "hyphen") {
			t.Errorf("%+v", f)
		}
		good := harness.PostWorkflow(t, g, `{"chain":[{"task":"say","args":["a; $(x) {0}"]},{"task":"join","args":["this"]},{"task":"say"}]}`)
		if f := await(good.ID); f.State != "success" || f.Progress != 100 || string(f.Result) != `{"output":"this and a; $(x) {0}"}` {
			t.Errorf("%+v %s", f, f.Result)
		}
		members := strings.TrimSuffix(strings.Repeat(`{"task":"say","args":["x"]},`, 99), ",")
		chord := harness.PostWorkflow(t, g, `{"group":[`+members+`,{"task":"say","args":["y"]}],"callback":{"task":"say","args":["done"],"immutable":true}}`)
		broken := harness.PostWorkflow(t, g, `{"group":[`+members+`,{"task":"fail","id":"`+chord.ID+`-bad"}],"callback":{"task":"say","args":["done"],"immutable":true}}`)
		if f := await(chord.ID); f.Kind != "chord" || f.State != "success" || f.Succeeded != 100 || f.Progress != 100 || string(f.Result) != `{"output":"done"}` {
			t.Errorf("%+v %s", f, f.Result)
		}
		if task := harness.GetTask(t, g, chord.Callback); task.State != "success" {
			t.Errorf("%+v", task)
		}
		if f := await(broken.ID); f.State != "failed" || f.FailedTask != chord.ID+"-bad" || f.Error != "exit status 3: no luck" {
			t.Errorf("%+v", f)
		}
		for body, want := range map[string]int{
			`{"chain":[]}`: 400,
			`{"group":[]}`: 400,
			`{"chain":[{"task":"say","args":["x"]}],"group":[{"task":"say","args":["x"]}]}`:                  400,
			`{"chain":[{"task":"say","args":["x"]}],"queue":"q"}`:                                            400,
			`{"chain":[{"task":"nope"}]}`:                                                                    404,
			`{"chain":[{"task":"say","args":["x"]},{"task":"say","args":["too","many"]}]}`:                   400,
			`{"group":[{"task":"say","args":[7]}]}`:                                                          400,
			`{"group":[{"task":"say","args":["x"],"unique":"k","unique_for":"1m"}]}`:                         400,
			`{"group":[{"task":"say","args":["x"],"id":"my-chain"}]}`:                                        409,
			`{"group":[{"task":"say","args":["x"],"timeout":"soon","expires":"never"}]}`:                     400,
			`{"task":"say","args":["x"],"callback":{"task":"say"}}`:                                          400,
			`{"group":[{"task":"say","args":["x"]}],"callback":{"task":"say","args":["x","y"]}}`:             400,
			`{"task":"say","args":["x"],"countdown":"1s","eta":"2099-01-01T00:00:00Z"}`:                      400,
			`{"task":"say","args":["x"],"expires":"2001-01-01T00:00:00Z"}`:                                   400,
			`{"chain":[{"task":"say","args":["x"]},{"task":"say","eta":"2099-01-01T00:00:00Z"}]}`:            400,
			fmt.Sprintf(`{"group":[%s]}`, strings.TrimSuffix(strings.Repeat(`{"task":"fail"},`, 1001), ",")): 400,
			fmt.Sprintf(`{"chain":[%s]}`, strings.TrimSuffix(strings.Repeat(`{"task":"fail"},`, 101), ",")):  400,
		} {
			var f harness.Workflow
			if code := harness.SendJSON(t, "POST", g.URL+"/tasks", body, &f); code != want || f.Reason == "" {
				t.Errorf("%.100s: %d %q, want %d", body, code, f.Reason, want)
			}
		}
	})
}

// terminal opens a pseudo terminal. What is written to pts can be read from ptm.
func terminal(t *testing.T) (ptm, pts *os.File) {
	t.Helper()
	ptm, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ptm.Close() })
	if err := unix.IoctlSetPointerInt(int(ptm.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(ptm.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if pts, err = os.OpenFile(fmt.Sprint("/dev/pts/", n), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pts.Close() })
	return ptm, pts
}

// On a terminal server tasks run shows the progress of the task. When it is
// interrupted, the task continues.
func TestRunTaskOnATerminal(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := harness.TasksFile(t, `
		[tasks.steps]
		argv = ["sh", "-c", "echo progress 50 half way; sleep 60"]`)
	g := harness.Start(t, dir, "-procs", "1", "-workers", "1", "-tasks", file)
	ptm, pts := terminal(t)
	cmd := exec.Command(harness.Binary(), "tasks", "run", "steps", "-tasks", file)
	cmd.Dir, cmd.Stderr = dir, pts
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	var seen testutil.LogBuffer
	go io.Copy(&seen, ptm) // ends with the terminal
	half := "[" + strings.Repeat("#", 15) + strings.Repeat(".", 15) + "]  50% running half way"
	testutil.Eventually(t, "the bar is half way", func() bool { return strings.Contains(seen.String(), half) })
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	err := cmd.Wait()
	if exited, ok := errors.AsType[*exec.ExitError](err); !ok || exited.ExitCode() != 130 {
		t.Errorf("after SIGINT: %v", err)
	}
	testutil.Eventually(t, "it names the task", func() bool { return strings.Contains(seen.String(), "was not cancelled; see server tasks show") })
	var page struct{ Tasks []harness.CommandTask }
	harness.GetJSON(t, g.URL+"/tasks?state=running", &page)
	if len(page.Tasks) != 1 || page.Tasks[0].Progress != 50 {
		t.Fatalf("%+v", page.Tasks)
	}
	harness.Command(t, dir, "tasks", "cancel", page.Tasks[0].ID) // else the server waits for it at the end of the test
}
