package peers

import (
	"context"
	"fmt"
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
func galePython(b *testing.B, _ *redistest.Server, n int) result {
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
	id := func(i int) string { return fmt.Sprintf("noop-%d", i) }
	inParallel(b, n, func(i int) error {
		_, _, err := client.Enqueue(b.Context(), jobs.NewTask{ID: id(i), Name: "noop"})
		return err
	})

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
	return result{rate: drainRate(b, store, id(0), id(n-1))}
}

// stop kills a program and its children.
func stop(cmd *exec.Cmd) {
	process.Kill(cmd.Process.Pid)
	_ = cmd.Wait() // was killed
}

// drainRate measures the rate at which queued tasks end, from the end of one of the first
// to that of the last. It watches single tasks until the queue is nearly empty, because to
// count a long queue costs the store more than to end a task.
func drainRate(b *testing.B, store driver.Store, first, last string) float64 {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), 2*time.Minute)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	until := func(done func() (bool, error)) {
		for {
			ok, err := done()
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				b.Fatal(err)
			}
			if ok {
				return
			}
			<-tick.C
		}
	}
	ended := func(id string) func() (bool, error) {
		return func() (bool, error) {
			t, err := store.Get(ctx, id)
			return err == nil && t.State.Final(), err
		}
	}
	until(ended(first))
	began := time.Now()
	left, err := unended(ctx, store)
	if err != nil {
		b.Fatal(err)
	}
	until(ended(last))
	until(func() (bool, error) { now, err := unended(ctx, store); return now == 0, err })
	return float64(left) / time.Since(began).Seconds()
}

// unended returns how many tasks have not ended.
func unended(ctx context.Context, store driver.Store) (n int, err error) {
	queues, err := store.Depth(ctx)
	for _, q := range queues {
		n += q.Waiting + q.Scheduled + q.Running
	}
	return n, err
}
