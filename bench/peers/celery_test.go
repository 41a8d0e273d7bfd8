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
import os, time
from celery import Celery

app = Celery("app", broker=os.environ["BROKER"], backend=os.environ.get("BACKEND") or None)
app.conf.task_acks_late = app.conf.task_reject_on_worker_lost = bool(os.environ.get("BACKEND"))

@app.task
def noop():
    pass

@app.task
def start(at):
    now = time.time_ns() // 1000
    os.write(starts, b"%d %d\n" % (now, now - at))

if "STARTS" in os.environ:
    starts = os.open(os.environ["STARTS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
`

// celeryQueue is a producer or a worker in a role, see roleKey. The processes of the worker
// write the times of their tasks to the file STARTS.
const celeryQueue = `
import json, os, subprocess, sys, time, app

what, n = sys.argv[1], int(sys.argv[2])
send = lambda at: app.start.apply_async((at,), queue="celery")
if what == "work":
    subprocess.Popen([sys.executable, "-W", "ignore", "-m", "celery", "-A", "app", "worker", "-c", "2", "--without-gossip", "--without-mingle", "-l", "error"], stdout=subprocess.DEVNULL)
    while not app.app.control.ping(timeout=0.5):
        pass
    print("ready", flush=True)
    while True:
        with open(os.environ["STARTS"]) as file:
            starts = [[int(field) for field in line.split()] for line in file.readlines() if line.endswith("\n")]
        if len(starts) == n:
            break
        time.sleep(0.05)
    now = [start[0] for start in starts]
    print(json.dumps({"First": min(now), "Last": max(now), "Latencies": [start[1] for start in starts]}), flush=True)
    sys.stdin.read() # until this process and its children are killed
else:
    print("ready", flush=True)
    for at in sys.stdin if what == "schedule" else range(n):
        send(int(at) if what == "schedule" else time.time_ns() // 1000)
`

// celeryRole starts Celery in a role, with the guarantees of celeryKeeps.
func celeryRole(b *testing.B, address, role string, n int) *child {
	b.Helper()
	dir := b.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "app.py"), []byte(celeryApp), 0o600); err != nil {
		b.Fatal(err)
	}
	env := []string{"C_FORCE_ROOT=1", "BROKER=redis://" + address + "/0", "BACKEND=redis://" + address + "/1", "STARTS=" + filepath.Join(dir, "starts")}
	return startChild(b, dir, env, debianPython, "-c", celeryQueue, role, strconv.Itoa(n))
}

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
func celeryKeeps(b *testing.B, server *redistest.Server, n int) result {
	client := redis.NewClient(&redis.Options{Addr: server.Addr, DB: 1})
	defer client.Close()
	return celery(b, server, n, server.URL()+"/1", func() (int64, error) {
		kept, err := client.DBSize(b.Context()).Result()
		return int64(n) - kept, err
	})
}

// celeryBare runs Celery with only a broker configured: a task is acknowledged before it
// runs, and no result is stored.
func celeryBare(b *testing.B, server *redistest.Server, n int) result {
	return celery(b, server, n, "", func() (int64, error) {
		return server.Client().LLen(b.Context(), "celery").Result()
	})
}

// celery measures the rate at which n tasks end, from the first to the last one.
func celery(b *testing.B, server *redistest.Server, n int, backend string, left func() (int64, error)) result {
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
			return result{rate: float64(first) / time.Since(began).Seconds()}
		}
	}
}
