package deploy_test

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
	"time"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/test/harness"
)

// The program in docs/example does what it says of itself, also with its
// processes killed.
func TestExampleProgram(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "example")
	build := exec.Command("go", "build", "-o", program, "./docs/example")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // as everything else is built
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	if out, err := exec.Command(program).CombinedOutput(); err == nil || !strings.Contains(string(out), "usage: example HOST:PORT FOLDER") {
		t.Errorf("without arguments: %v: %s", err, out)
	}
	g, err := harness.LaunchAs(exec.Command(program, "127.0.0.1:0", filepath.Join(t.TempDir(), "data")))
	g = harness.EndWith(t, g, err)
	count := func(text string) (code int, task harness.Task) {
		code = harness.Send(t, http.MethodPost, g.URL+"/count", text, &task)
		return code, task
	}
	counted := func(task harness.Task, want string) {
		t.Helper()
		testutil.Eventually(t, "the words are counted", func() bool {
			harness.GetJSON(t, g.URL+"/count/"+task.ID, &task)
			return task.State == "success"
		})
		if string(task.Result) != want {
			t.Errorf("%+v, want %s words", task, want)
		}
	}
	code, task := count("so long, and thanks")
	if code != http.StatusAccepted || task.State != "queued" {
		t.Fatalf("%d %+v", code, task)
	}
	counted(task, "4")

	pids := children(t, g.Cmd.Process.Pid)
	if len(pids) != 3 {
		t.Fatalf("children %v", pids)
	}
	_, task = count("for all the fish")
	for _, pid := range pids {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	testutil.Eventually(t, "others have taken their place", func() bool { return strings.Count(g.Log.String(), `msg="child ready"`) >= 6 })
	counted(task, "4")
	if code, _ := count(strings.Repeat("x", 64<<10+1)); code != http.StatusRequestEntityTooLarge {
		t.Errorf("a text that is too long: %d", code)
	}
	if code, body, err := harness.Get(g.URL + "/count/nothing"); err != nil || code != http.StatusNotFound {
		t.Errorf("%d %s, %v", code, body, err)
	}
	if err := g.Cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := g.Wait(20 * time.Second); err != nil {
		t.Error(err)
	}
}

// children are the processes that a process has started.
func children(t *testing.T, pid int) (pids []int) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		t.Fatal(err)
	}
	for field := range strings.FieldsSeq(string(text)) {
		child, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, child)
	}
	return pids
}
