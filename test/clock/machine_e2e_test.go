//go:build e2e

package clock_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/test/harness"
)

// build builds the program with a clock that can be set, once for all tests.
var build = sync.OnceValues(func() (string, error) {
	return harness.BuildWithClock(filepath.Dir(harness.Binary()))
})

// machine has a clock and runs programs that read it.
type machine struct {
	*harness.Clock
	t   *testing.T
	dir string
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	dir := t.TempDir()
	c, err := harness.NewClock(dir)
	if err != nil {
		t.Fatal(err)
	}
	return &machine{c, t, dir}
}

// launch starts the program with arguments. A flag for a port is added if they have none.
func (m *machine) launch(args ...string) *harness.Server {
	m.t.Helper()
	program, err := build()
	if err != nil {
		m.t.Fatal(err)
	}
	cmd := exec.Command(program, harness.OnFreePorts(args)...)
	cmd.Dir, cmd.Env = m.dir, append(os.Environ(), m.Variable(), "RUNS="+m.dir)
	g, err := harness.LaunchAs(cmd)
	return harness.MustStart(m.t, g, err)
}

// flags are those of a server with the tasks of the tests.
func (m *machine) flags() []string {
	return []string{"-tasks", m.tasksFile(), "-procs", "2", "-workers", "2", "-concurrency", "4"}
}

// lines returns the number of lines that tasks have written to a file of the machine.
func (m *machine) lines(name string) int {
	text, _ := os.ReadFile(filepath.Join(m.dir, name)) // not there before the first line
	return strings.Count(string(text), "\n")
}

// more waits until tasks have written n more lines.
func (m *machine) more(name string, n int) {
	m.t.Helper()
	want := m.lines(name) + n
	testutil.Eventually(m.t, fmt.Sprintf("%d more runs of %s", n, name), func() bool { return m.lines(name) >= want })
}

// release lets the task slow end.
func (m *machine) release(id string) {
	m.t.Helper()
	if err := os.WriteFile(filepath.Join(m.dir, "end-"+id), nil, 0o600); err != nil {
		m.t.Fatal(err)
	}
}

// tasksFile has the tasks of the tests. They write a line for each run to files in $RUNS. slow
// ends when a file with its argument exists; retry fails in its first run.
func (m *machine) tasksFile() string {
	return harness.TasksFile(m.t, `
[tasks.tick]
env = ["RUNS"]
argv = ["sh", "-c", "echo run >>$RUNS/tick"]
schedule = "@every 2s"

[tasks.slow]
env = ["RUNS"]
argv = ["sh", "-c", "echo run >>$RUNS/slow-$1; until [ -e $RUNS/end-$1 ]; do sleep 0.1; done", "slow", "{name}"]
args = ["name"]

[tasks.retry]
env = ["RUNS"]
argv = ["sh", "-c", "echo run >>$RUNS/retry-$1; [ $(wc -l <$RUNS/retry-$1) -gt 1 ]", "retry", "{name}"]
args = ["name"]
retry_codes = [1]

[tasks.limited]
env = ["RUNS"]
argv = ["sh", "-c", "echo run >>$RUNS/limited"]
rate = "1/s"
`)
}

// retry posts the task retry and waits until it waits for its second run.
func (m *machine) retry(g *harness.Server, name string) (id string) {
	m.t.Helper()
	task := harness.PostTask(m.t, g, fmt.Sprintf(`{"task": "retry", "args": [%q]}`, name))
	testutil.Eventually(m.t, "the task has failed once", func() bool {
		state := harness.GetTask(m.t, g, task.ID).State
		return state == "retrying" || state == "success"
	})
	return task.ID
}

const (
	hour = time.Hour
	week = 8 * 24 * time.Hour // longer than ended tasks are kept
)
