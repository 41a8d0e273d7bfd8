package chaos_test

import (
	"fmt"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/galeserver/gale/internal/redistest"
	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/jobs/driver"
	"github.com/galeserver/gale/test/harness"
)

// A killed worker loses none of the ten tasks that it runs, nor the ten that are
// queued: the next process of its slot runs them.
func TestKilledWorker(t *testing.T) {
	t.Parallel()
	onEachStore(t, func(t *testing.T, flags []string, _ *redistest.Server) {
		t.Parallel()
		g := start(t, t.TempDir(), append([]string{"serve", "-procs", "1", "-workers", "1", "-concurrency", "10"}, flags...)...)
		finishedAfterKill(t, g, func() { kill(t, g.Slots(t)["worker.0"].PID) })
		if restarts := g.Slots(t)["worker.0"].Restarts; restarts != 1 {
			t.Errorf("the worker was restarted %d times, want once", restarts)
		}
	})
}

// The same for a worker on another machine that does not come back: another
// worker runs its tasks after their leases have expired.
func TestLostMachine(t *testing.T) {
	t.Parallel()
	onEachStore(t, func(t *testing.T, flags []string, redis *redistest.Server) {
		t.Parallel()
		dir := t.TempDir()
		g := start(t, dir, append([]string{"serve", "-procs", "1", "-workers", "0"}, flags...)...)
		startWorker := func() *harness.Server {
			t.Helper()
			folder := dir // SQLite is shared by its folder
			if redis != nil {
				folder = t.TempDir()
			}
			return start(t, folder, append([]string{"worker", "-procs", "1", "-concurrency", "10", "-upload-dir", filepath.Join(dir, "data", "uploads")}, flags...)...)
		}
		lost := startWorker()
		finishedAfterKill(t, g, func() {
			pid := lost.Slots(t)["worker.0"].PID
			kill(t, lost.Cmd.Process.Pid) // first, since a master restarts its worker
			kill(t, pid)
			startWorker()
		})
	})
}

// finishedAfterKill posts twenty tasks, interrupts the ten that run, and waits
// until all of them have succeeded.
func finishedAfterKill(t *testing.T, g *harness.Server, interrupt func()) {
	t.Helper()
	ids := postNaps(t, g, "t", 20, 2000)
	testutil.Eventually(t, "ten tasks run", func() bool {
		var page struct{ Tasks []harness.Task }
		harness.GetJSON(t, g.URL+"/tasks?state=running", &page)
		return len(page.Tasks) == 10
	})
	interrupt()
	killed := time.Now()
	repeated := 0
	for _, id := range ids {
		task := harness.AwaitTask(t, g, id)
		if task.State != "success" {
			t.Errorf("%+v", task)
		}
		repeated += task.Attempts - 1
	}
	t.Logf("the last of 20 tasks ended %v after the kill; %d were repeated", time.Since(killed).Round(10*time.Millisecond), repeated)
	if repeated == 0 {
		t.Error("the kill interrupted no task")
	}
}

func kill(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatalf("kill %d: %v", pid, err)
	}
}

// A task that ends its worker's process each time is a dead letter after five
// attempts. The tasks that ran in the same processes succeed.
func TestPoison(t *testing.T) {
	t.Parallel()
	onEachStore(t, func(t *testing.T, flags []string, _ *redistest.Server) {
		t.Parallel()
		dir := t.TempDir()
		g := start(t, dir, append([]string{"serve", "-procs", "1", "-workers", "0"}, flags...)...)
		ids := postNaps(t, g, "slow", 7, 500)
		postTask(t, g, `{"task":"crash","id":"poison"}`)
		ids = append(ids, postNaps(t, g, "quick", 40, 20)...)
		began := time.Now()
		w := start(t, dir, append([]string{"worker", "-procs", "1", "-concurrency", "8"}, flags...)...)
		for _, id := range ids {
			if task := harness.AwaitTask(t, g, id); task.State != "success" {
				t.Errorf("a task that ran with the poison: %+v", task)
			}
		}
		took := time.Since(began)
		poison := harness.AwaitTask(t, g, "poison")
		if poison.State != "dead" || poison.Attempts != driver.DefaultMaxLost || poison.Error != driver.LostReason(driver.DefaultMaxLost) {
			t.Errorf("poison: %+v", poison)
		}
		// The last process must have started before its predecessors are counted.
		testutil.Eventually(t, fmt.Sprintf("%d workers have died", driver.DefaultMaxLost), func() bool {
			return w.Slots(t)["worker.0"].Restarts >= driver.DefaultMaxLost
		})
		if restarts := w.Slots(t)["worker.0"].Restarts; restarts != driver.DefaultMaxLost {
			t.Errorf("%d workers died, want %d", restarts, driver.DefaultMaxLost)
		}
		t.Logf("the other 47 tasks ended within %v", took.Round(10*time.Millisecond))
	})
}
