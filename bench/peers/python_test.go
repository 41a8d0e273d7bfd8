package peers

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/galeserver/gale/bench/process"
	"github.com/galeserver/gale/internal/redistest"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
	"github.com/galeserver/gale/jobs/sqlite"
)

// pythonApp is an application without settings.
const pythonApp = `
import gale

app = gale.App()

@app.task
def noop() -> None:
    pass
`

// galePython enqueues tasks in SQLite, and runs them in a Python worker with two processes
// that leases them from a server over HTTP.
func galePython(b *testing.B, _ *redistest.Server, n int) float64 {
	dir := b.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "app.py"), []byte(pythonApp), 0o600); err != nil {
		b.Fatal(err)
	}
	store, err := sqlite.Open(filepath.Join(dir, "jobs.db"), sqlite.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	// The handler is never called: no worker of this process leases the tasks.
	registry, err := jobs.NewRegistry(jobs.Definition{Name: "noop", Handler: func(context.Context, *jobs.Job) error { return nil }})
	if err != nil {
		b.Fatal(err)
	}
	client := &jobs.Client{Store: store, Tasks: registry}
	inParallel(b, n, func(int) error { _, _, err := client.Enqueue(b.Context(), jobs.NewTask{Name: "noop"}); return err })

	port, err := process.FreePort(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	binary, err := filepath.Abs("../../bin/server")
	if err != nil {
		b.Fatal(err)
	}
	server, err := process.Begin(b.Context(), port, binary, "serve", "-data", dir, "-port", port, "-admin", "127.0.0.1:0", "-procs", "1", "-workers", "0", "-log-level", "error")
	if err != nil {
		b.Fatalf("%v; run make build", err)
	}
	defer stop(server)
	source, err := filepath.Abs("../../clients/python/src")
	if err != nil {
		b.Fatal(err)
	}
	w := exec.CommandContext(b.Context(), debianPython, "-B", "-m", "gale", "worker", "app", "-c", "2")
	w.Dir, w.Env = dir, append(os.Environ(), "PYTHONPATH="+source, "GALE_URL=http://127.0.0.1:"+port)
	if err := w.Start(); err != nil {
		b.Fatal(err)
	}
	defer stop(w)
	return drainRate(b, store, n)
}

// stop kills a program and its children.
func stop(cmd *exec.Cmd) {
	process.Kill(cmd.Process.Pid)
	_ = cmd.Wait() // was killed
}

// drainRate measures the rate at which n queued tasks end, from the first to the last one.
func drainRate(b *testing.B, store driver.Store, n int) float64 {
	b.Helper()
	var began time.Time
	first := 0
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(2 * time.Minute); ; <-tick.C {
		left, err := unended(b.Context(), store)
		switch {
		case err != nil || time.Now().After(end):
			b.Fatalf("%d of %d tasks are left: %v", left, n, err)
		case began.IsZero() && left < n:
			began, first = time.Now(), left
		case !began.IsZero() && left == 0:
			return float64(first) / time.Since(began).Seconds()
		}
	}
}

// unended returns how many tasks have not ended.
func unended(ctx context.Context, store driver.Store) (n int, err error) {
	queues, err := store.Depth(ctx)
	for _, q := range queues {
		n += q.Waiting + q.Scheduled + q.Running
	}
	return n, err
}
