package peers

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"gale/jobs/redistest"
)

// celeryApp is the smallest there is.
const celeryApp = `
from celery import Celery

app = Celery("app")

@app.task(ignore_result=True)
def noop():
    pass
`

// celerySend sends so many tasks to a broker.
const celerySend = `
import sys, app
app.app.conf.broker_url = sys.argv[2]
for _ in range(int(sys.argv[1])):
    app.noop.apply_async(queue="celery")
`

// debianPython is the interpreter that Debian's celery is installed for.
const debianPython = "/usr/bin/python3"

// celeryRedis measures how fast the queue empties: from the first task that is
// gone to the last.
func celeryRedis(b *testing.B, server *redistest.Server, n int) float64 {
	dir := b.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "app.py"), []byte(celeryApp), 0o600); err != nil {
		b.Fatal(err)
	}
	url := server.URL() + "/0"
	send := exec.CommandContext(b.Context(), debianPython, "-c", celerySend, strconv.Itoa(n), url)
	send.Dir = dir
	if out, err := send.CombinedOutput(); err != nil {
		b.Fatalf("celery: %v; install Debian's python3-celery and python3-redis\n%s", err, out)
	}
	w := exec.CommandContext(b.Context(), debianPython, "-m", "celery", "-b", url, "-A", "app", "worker", "-c", "2", "--without-gossip", "--without-mingle", "-l", "error")
	w.Dir = dir
	w.Env = append(os.Environ(), "C_FORCE_ROOT=1")
	w.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := w.Start(); err != nil {
		b.Fatal(err)
	}
	defer func() {
		_ = syscall.Kill(-w.Process.Pid, syscall.SIGKILL) // its pool, too
		_ = w.Wait()
	}()
	var began time.Time
	var first int64
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(time.Minute); ; <-tick.C {
		left, err := server.Client().LLen(b.Context(), "celery").Result()
		switch {
		case err != nil || time.Now().After(end):
			b.Fatalf("celery: %d tasks are left, %v", left, err)
		case began.IsZero() && left < int64(n):
			began, first = time.Now(), left
		case !began.IsZero() && left == 0:
			return float64(first) / time.Since(began).Seconds()
		}
	}
}
