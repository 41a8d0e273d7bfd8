package peers

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/galeserver/gale/internal/redistest"
)

// celeryApp is an application without settings, which celery appends.
const celeryApp = `
import os
from celery import Celery

app = Celery("app", broker=os.environ["BROKER"], backend=os.environ.get("BACKEND") or None)
app.conf.task_acks_late = app.conf.task_reject_on_worker_lost = bool(os.environ.get("BACKEND"))

@app.task
def noop():
    pass
`

// celerySend sends the given number of tasks.
const celerySend = `
import sys, app
for _ in range(int(sys.argv[1])):
    app.noop.apply_async(queue="celery")
`

// debianPython is the interpreter of Debian's celery.
const debianPython = "/usr/bin/python3"

// celeryKeeps runs Celery with the guarantees of Gale's tasks: a task is acknowledged
// when it has ended, and its result is stored.
func celeryKeeps(b *testing.B, server *redistest.Server, n int) float64 {
	client := redis.NewClient(&redis.Options{Addr: server.Addr, DB: 1})
	defer client.Close()
	return celery(b, server, n, server.URL()+"/1", func() (int64, error) {
		kept, err := client.DBSize(b.Context()).Result()
		return int64(n) - kept, err
	})
}

// celeryBare runs Celery with only a broker configured: a task is acknowledged before it
// runs, and no result is stored.
func celeryBare(b *testing.B, server *redistest.Server, n int) float64 {
	return celery(b, server, n, "", func() (int64, error) {
		return server.Client().LLen(b.Context(), "celery").Result()
	})
}

// celery measures the rate at which n tasks end, from the first to the last one.
func celery(b *testing.B, server *redistest.Server, n int, backend string, left func() (int64, error)) float64 {
	dir := b.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "app.py"), []byte(celeryApp), 0o600); err != nil {
		b.Fatal(err)
	}
	env := append(os.Environ(), "C_FORCE_ROOT=1", "BROKER="+server.URL()+"/0", "BACKEND="+backend)
	send := exec.CommandContext(b.Context(), debianPython, "-c", celerySend, strconv.Itoa(n))
	send.Dir, send.Env = dir, env
	if out, err := send.CombinedOutput(); err != nil {
		b.Fatalf("celery: %v; install Debian's python3-celery and python3-redis\n%s", err, out)
	}
	w := exec.CommandContext(b.Context(), debianPython, "-m", "celery", "-A", "app", "worker", "-c", "2", "--without-gossip", "--without-mingle", "-l", "error")
	w.Dir, w.Env = dir, env
	w.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := w.Start(); err != nil {
		b.Fatal(err)
	}
	defer func() {
		_ = syscall.Kill(-w.Process.Pid, syscall.SIGKILL) // and its pool
		_ = w.Wait()
	}()
	var began time.Time
	var first int64
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(time.Minute); ; <-tick.C {
		left, err := left()
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
