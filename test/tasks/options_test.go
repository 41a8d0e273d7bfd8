package tasks_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/test/harness"
)

// A queue is paused by a process that knows nothing but the store; what waits
// there may expire, is there once for a key, and the rest begins when the queue
// is resumed.
func TestPauseExpireUnique(t *testing.T) {
	harness.OnStores(t, func(t *testing.T, where []string) {
		dir := t.TempDir()
		file := harness.TasksFile(t, `
			[tasks.say]
			argv = ["echo", "{0}"]
			queue = "talk"`)
		g := harness.Start(t, dir, append([]string{"-procs", "1", "-workers", "1", "-tasks", file, "-queue", "default=1,talk=5"}, where...)...)
		server := func(args ...string) string { return harness.Command(t, dir, append(args, where...)...) }
		server("tasks", "queues", "pause", "talk")
		late := harness.PostTask(t, g, `{"task":"say","args":["late"],"expires":"300ms"}`)
		first := harness.PostTask(t, g, `{"task":"say","args":["first"],"unique":"greeting","unique_for":"1h"}`)
		var again harness.CommandTask
		code := harness.Send(t, "POST", g.URL+"/tasks", `{"task":"say","args":["again"],"unique":"greeting","unique_for":"1h"}`, &again)
		if code != http.StatusOK || again.ID != first.ID {
			t.Errorf("a second with the same key: %d, %s, not %s", code, again.ID, first.ID)
		}
		soon := harness.PostTask(t, g, `{"task":"say","args":["soon"],"countdown":"10ms"}`)
		testutil.Eventually(t, "what waits expires", func() bool { return harness.ShowTask(t, g, late.ID).State == "cancelled" })
		if task := harness.ShowTask(t, g, late.ID); task.Error != "expired before it was begun" {
			t.Errorf("%+v", task)
		}
		for _, id := range []string{first.ID, soon.ID} {
			if task := harness.ShowTask(t, g, id); task.State != "queued" {
				t.Errorf("in a paused queue %s is %s", id, task.State)
			}
		}
		if out := server("tasks", "queues"); !strings.Contains(out, "talk") || !strings.Contains(out, "yes") {
			t.Errorf("queues:\n%s", out)
		}
		server("tasks", "queues", "resume", "talk")
		for _, id := range []string{first.ID, soon.ID} {
			var task harness.CommandTask
			harness.GetJSON(t, g.URL+"/tasks/"+id+"?wait=20s", &task)
			if task.State != "success" {
				t.Errorf("%+v", task)
			}
		}
	})
}

// Zero is a value: what was asked for holds, not what the task's definition says,
// also for tasks that are accepted later. Numbers are seconds.
func TestZeroIsAValue(t *testing.T) {
	harness.OnStores(t, func(t *testing.T, where []string) {
		file := harness.TasksFile(t, `
			[tasks.fail]
			argv = ["sh", "-c", "exit 75"]
			retry_codes = [75]
			[tasks.nap]
			argv = ["sleep", "1.5"]
			timeout = "100ms"
			[tasks.patient]
			argv = ["sleep", "1.5"]
			timeout = 60
			[tasks.say]
			argv = ["echo", "hello"]`)
		g := harness.Start(t, t.TempDir(), append([]string{"-procs", "1", "-workers", "1", "-concurrency", "8", "-tasks", file}, where...)...)
		once := harness.PostTask(t, g, `{"task":"fail","max_retries":0}`)
		open := harness.PostTask(t, g, `{"task":"fail"}`)
		short := harness.PostTask(t, g, `{"task":"nap"}`)
		shorter := harness.PostTask(t, g, `{"task":"patient","timeout":0.1}`)
		free := harness.PostTask(t, g, `{"task":"nap","timeout":0,"countdown":0}`)
		patient := harness.PostTask(t, g, `{"task":"patient","countdown":0.05}`)
		chain := harness.PostFlow(t, g, `{"chain":[{"task":"say"},{"task":"nap","timeout":0,"immutable":true},{"task":"fail","max_retries":0,"immutable":true}]}`)
		chord := harness.PostFlow(t, g, `{"group":[{"task":"say"}],"callback":{"task":"fail","max_retries":0,"immutable":true}}`)
		ended := func(id, state string) (task harness.CommandTask) {
			t.Helper()
			harness.GetJSON(t, g.URL+"/tasks/"+id+"?wait=60", &task)
			if task.State != state {
				t.Errorf("%s is %+v, want %s", id, task, state)
			}
			return task
		}
		for _, id := range []string{once.ID, chain.Tasks[2], chord.Callback} {
			testutil.Eventually(t, id+" is there", func() bool {
				code, _, err := harness.Get(g.URL + "/tasks/" + id)
				return err == nil && code == http.StatusOK
			})
			if task := ended(id, "failed"); len(task.Failures) != 1 {
				t.Errorf("without retries there are %d failures", len(task.Failures))
			}
		}
		for _, id := range []string{free.ID, patient.ID, chain.Tasks[1]} {
			ended(id, "success")
		}
		for _, id := range []string{short.ID, shorter.ID} {
			if task := ended(id, "failed"); !strings.Contains(task.Error, "timed out") {
				t.Errorf("%+v", task)
			}
		}
		testutil.Eventually(t, "what says nothing of retries is tried again", func() bool { return len(harness.ShowTask(t, g, open.ID).Failures) > 1 })
		for body, want := range map[string]string{
			`{"task":"say","countdown":"30"}`:                         "countdown: ",
			`{"task":"say","retries":3}`:                              "retries: unknown key; use max_retries",
			`{"task":"say","unique":"k","unique_for":0}`:              "unique_for: ",
			`{"task":"say","expires":0}`:                              "expires is in the past",
			`{"task":"say","queue":""}`:                               "queue: is empty",
			`{"chain":[{"task":"say"},{"task":"say","timeout":"x"}]}`: "chain[1].timeout: ",
			`{"chain":[{"task":"say"},{"task":"nope"}]}`:              "chain[1]: unknown task",
			`{"group":[{"task":"say"},{"task":"say","args":["x"]}]}`:  "group[1]: wrong arguments",
		} {
			var f harness.Flow
			if code := harness.Send(t, "POST", g.URL+"/tasks", body, &f); code < 400 || code > 404 || !strings.Contains(f.Reason, want) {
				t.Errorf("%s: %d %q, want %q", body, code, f.Reason, want)
			}
		}
	})
}

// Of a limited task no more begin than its rate says, over two workers, while
// others do.
func TestRateOverWorkers(t *testing.T) {
	harness.OnStores(t, func(t *testing.T, where []string) {
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
		// 7 at 3 a second take two seconds, of which a tenth may be made up.
		if span := begun[n-1].Sub(begun[0]); span < 1890*time.Millisecond {
			t.Errorf("%d began within %v", n, span)
		}
	})
}

// Chains hand on what commands print, a chord of a hundred counts them, and a
// failing member is named.
func TestWorkflows(t *testing.T) {
	harness.OnStores(t, func(t *testing.T, where []string) {
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
		await := func(id string) (f harness.Flow) {
			t.Helper()
			harness.GetJSON(t, g.URL+"/workflows/"+id+"?wait=50s", &f)
			return f
		}
		// A result is no more trusted than what clients send.
		chain := harness.PostFlow(t, g, `{"id":"my-chain","chain":[{"task":"option"},{"task":"say","timeout":"1m"},{"task":"say"}]}`)
		if chain.ID != "my-chain" || chain.Kind != "chain" || len(chain.Tasks) != 3 {
			t.Errorf("%+v", chain)
		}
		if f := await(chain.ID); f.State != "failed" || f.FailedTask != chain.Tasks[1] || f.Succeeded != 1 || !strings.Contains(f.Error, "hyphen") {
			t.Errorf("%+v", f)
		}
		good := harness.PostFlow(t, g, `{"chain":[{"task":"say","args":["a; $(x) {0}"]},{"task":"join","args":["this"]},{"task":"say"}]}`)
		if f := await(good.ID); f.State != "success" || f.Progress != 100 || string(f.Result) != `{"output":"this and a; $(x) {0}"}` {
			t.Errorf("%+v %s", f, f.Result)
		}
		members := strings.TrimSuffix(strings.Repeat(`{"task":"say","args":["x"]},`, 99), ",")
		chord := harness.PostFlow(t, g, `{"group":[`+members+`,{"task":"say","args":["y"]}],"callback":{"task":"say","args":["done"],"immutable":true}}`)
		broken := harness.PostFlow(t, g, `{"group":[`+members+`,{"task":"fail","id":"`+chord.ID+`-bad"}],"callback":{"task":"say","args":["done"],"immutable":true}}`)
		if f := await(chord.ID); f.Kind != "chord" || f.State != "success" || f.Succeeded != 100 || f.Progress != 100 || string(f.Result) != `{"output":"done"}` {
			t.Errorf("%+v %s", f, f.Result)
		}
		if task := harness.ShowTask(t, g, chord.Callback); task.State != "success" {
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
			`{"task":"say","args":["x"],"countdown":"1s","eta":"2030-01-01T00:00:00Z"}`:                      400,
			`{"task":"say","args":["x"],"expires":"2001-01-01T00:00:00Z"}`:                                   400,
			`{"chain":[{"task":"say","args":["x"]},{"task":"say","eta":"2030-01-01T00:00:00Z"}]}`:            400,
			fmt.Sprintf(`{"group":[%s]}`, strings.TrimSuffix(strings.Repeat(`{"task":"fail"},`, 1001), ",")): 400,
			fmt.Sprintf(`{"chain":[%s]}`, strings.TrimSuffix(strings.Repeat(`{"task":"fail"},`, 101), ",")):  400,
		} {
			var f harness.Flow
			if code := harness.Send(t, "POST", g.URL+"/tasks", body, &f); code != want || f.Reason == "" {
				t.Errorf("%.100s: %d %q, want %d", body, code, f.Reason, want)
			}
		}
	})
}

// server tasks run starts a task from the command line, prints what comes of it,
// and its exit status says how it ended; the log of a task can be read.
func TestRunTask(t *testing.T) {
	harness.OnStores(t, func(t *testing.T, where []string) {
		dir := t.TempDir()
		file := harness.TasksFile(t, `
			[tasks.say]
			argv = ["printf", "%s", "{0}"]
			[tasks.fail]
			argv = ["sh", "-c", "exit 3"]
			[tasks.sleep]
			argv = ["sleep", "100"]`)
		g := harness.Start(t, dir, append([]string{"-procs", "1", "-workers", "1", "-tasks", file}, where...)...)
		where = append([]string{"-tasks", file}, where...)
		try := func(args ...string) (code int, out, errs string) {
			t.Helper()
			return harness.Outcome(t, dir, append([]string{"tasks", "run"}, args...)...)
		}
		if code, out, errs := try(append([]string{"say", "hello you"}, where...)...); code != 0 || out != `{"output":"hello you"}`+"\n" {
			t.Errorf("%d %q %q", code, out, errs)
		}
		code, out, errs := try(append(append([]string{}, where...), "-json", "--", "say", "x-y")...)
		var said, task harness.CommandTask
		if err := json.Unmarshal([]byte(out), &said); code != 0 || err != nil || said.State != "success" || said.Result.Output != "x-y" {
			t.Errorf("%d %q %q", code, out, errs)
		}
		if code, out, errs := try(append([]string{"fail"}, where...)...); code != 1 || out != "" || !strings.Contains(errs, "failed: exit status 3") {
			t.Errorf("%d %q %q", code, out, errs)
		}
		if code, _, errs := try(append([]string{"say"}, where...)...); code != 1 || !strings.Contains(errs, "argument 1 of say, arg0, is missing") {
			t.Errorf("%d %q", code, errs)
		}
		if code, _, errs := try(append([]string{"nope"}, where...)...); code != 1 || !strings.Contains(errs, "known tasks: fail, inspect") {
			t.Errorf("%d %q", code, errs)
		}
		ended := make(chan int, 1)
		go func() { // ends with the task
			code, _, _ := try(append([]string{"sleep"}, where...)...)
			ended <- code
		}()
		var page struct{ Tasks []harness.CommandTask }
		testutil.Eventually(t, "it runs", func() bool {
			harness.GetJSON(t, g.URL+"/tasks?task=sleep&state=running", &page)
			return len(page.Tasks) == 1
		})
		if code := harness.Send(t, "DELETE", g.URL+"/tasks/"+page.Tasks[0].ID, "", &task); code != http.StatusOK {
			t.Errorf("cancel: %d", code)
		}
		if code := <-ended; code != 3 {
			t.Errorf("a cancelled task ends with %d", code)
		}
		status, text, err := harness.Get(g.URL + "/tasks/" + said.ID + "/log")
		if err != nil || status != http.StatusOK || !strings.Contains(text, `level=INFO msg="command begins" program=printf arguments=2`) {
			t.Errorf("log: %d %q, %v", status, text, err)
		}
		if out := harness.Command(t, dir, append([]string{"tasks", "log", said.ID}, where...)...); out != text {
			t.Errorf("log: %q and %q", out, text)
		}
	})
}

// terminal opens a pseudo terminal: what is written to pts is read from ptm.
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

// On a terminal server tasks run shows how far the task is, and interrupted it
// leaves the task to the workers.
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
		t.Errorf("interrupted it ends with %v", err)
	}
	testutil.Eventually(t, "it says what goes on", func() bool { return strings.Contains(seen.String(), "goes on; see server tasks show") })
	var page struct{ Tasks []harness.CommandTask }
	harness.GetJSON(t, g.URL+"/tasks?state=running", &page)
	if len(page.Tasks) != 1 || page.Tasks[0].Progress != 50 {
		t.Fatalf("%+v", page.Tasks)
	}
	harness.Command(t, dir, "tasks", "cancel", page.Tasks[0].ID) // else the server waits for it at its end
}
