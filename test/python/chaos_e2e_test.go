//go:build e2e

package python_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/test/harness"
)

// Ten processes of Python workers are killed while they run 500 tasks, and the master
// twice. Every task runs, and each result is right.
func TestE2EPythonChaos(t *testing.T) {
	const tasks, kills, masters = 500, 10, 2
	dir, port := t.TempDir(), harness.FreePort(t)
	launch := func() *harness.Server {
		g, err := harness.LaunchAs(exec.Command(harness.Binary(), "serve", "-data", dir, "-port", port, "-admin", "127.0.0.1:0", "-procs", "1", "-workers", "0"))
		return harness.MustStart(t, g, err)
	}
	g := launch()
	workers := []*worker{startWorker(t, g.URL, "-c", "2"), startWorker(t, g.URL, "-c", "2")}
	post(t, g, "c0", "square", "[0]")
	var posted sync.WaitGroup
	for i := 1; i < tasks; i++ {
		posted.Go(func() { post(t, g, fmt.Sprint("c", i), "square", fmt.Sprintf("[%d]", i)) })
		if i%20 == 0 {
			posted.Wait()
		}
	}
	posted.Wait()

	awaitEnded := func(n int) {
		testutil.Eventually(t, fmt.Sprintf("%d tasks have ended", n), func() bool { return ended(g) >= n })
	}
	for i := range kills {
		awaitEnded(i * tasks / (3 * kills))
		w := i % len(workers)
		if err := syscall.Kill(victim(workers[w], i), syscall.SIGKILL); err != nil {
			t.Logf("kill %d: %v", i, err) // the process has ended meanwhile
		}
		select {
		case <-workers[w].exited:
		default:
			if i%3 != 0 {
				continue
			}
			<-workers[w].exited
		}
		workers[w] = startWorker(t, g.URL, "-c", "2")
		if i < masters*3 && i%3 == 0 {
			g.Kill()
			g = launch()
		}
	}
	for i := range tasks {
		task := harness.AwaitTask(t, g, fmt.Sprint("c", i))
		if task.State != "success" || string(task.Result) != strconv.Itoa(i*i) {
			t.Errorf("task %d: %+v", i, task)
		}
	}
}

// ended returns how many tasks have ended.
func ended(g *harness.Server) int {
	code, text, err := harness.Get(g.URL + "/tasks?state=success&limit=200")
	if err != nil || code != http.StatusOK {
		return 0
	}
	return strings.Count(text, `"state":"success"`)
}

// victim returns the parent of a worker, its second process, or one that runs tasks.
func victim(w *worker, i int) int {
	parent := w.cmd.Process.Pid
	if i%3 == 0 {
		return parent
	}
	second := children(parent)
	if len(second) == 0 {
		return parent
	}
	if i%3 == 1 {
		return second[0]
	}
	if running := children(second[0]); len(running) > 0 {
		return running[rand.IntN(len(running))]
	}
	return second[0]
}

// A task prints a gigabyte. Its log keeps the end, and another task is not harmed.
func TestE2EPythonGigabyte(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), python, "-B", "-m", "unittest", "tests.test_faults.BadTaskTest.test_much_output")
	cmd.Dir, cmd.Env = "clients/python", append(os.Environ(), "GALE_TEST_MEGABYTES=1024")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}
