package machinery_test

import (
	"context"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/artifacts"
	"github.com/galeserver/gale/jobs/machinery"
	"github.com/galeserver/gale/jobs/sqlite"
)

// fixture is a store with a worker.
type fixture struct {
	store  *sqlite.Store
	client *jobs.Client
	files  *artifacts.Folder
	tasks  *jobs.Registry
}

func newFixture(t *testing.T, defs ...jobs.Definition) *fixture {
	t.Helper()
	dir := t.TempDir()
	f := &fixture{}
	var err error
	f.tasks, err = jobs.NewRegistry(defs...)
	if err != nil {
		t.Fatal(err)
	}
	f.client = &jobs.Client{Tasks: f.tasks}
	f.leaseFor(t, time.Hour) // no lease expires during a test
	if f.files, err = artifacts.Open(filepath.Join(dir, "artifacts")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.files.Close() })
	return f
}

// leaseFor replaces the store by one with the given lease time.
func (f *fixture) leaseFor(t *testing.T, ttl time.Duration) {
	t.Helper()
	store, err := sqlite.Open(filepath.Join(t.TempDir(), "jobs.db"), sqlite.Options{LeaseTTL: ttl})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	f.store, f.client.Store = store, store
}

// work runs a worker until the test ends, or the returned function is called.
func (f *fixture) work(t *testing.T, o machinery.Options) (stop func()) {
	t.Helper()
	if o.Owner == "" {
		o.Owner = "test/worker.0"
	}
	o.Artifacts = f.files
	w, err := machinery.New(f.store, f.tasks, o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { // ends with the worker
		defer close(ended)
		if err := w.Run(ctx); err != nil {
			t.Errorf("worker: %v", err)
		}
	}()
	stop = sync.OnceFunc(func() { cancel(); <-ended })
	t.Cleanup(stop)
	return stop
}

func (f *fixture) enqueue(t *testing.T, n jobs.NewTask) *jobs.Task {
	t.Helper()
	task, _, err := f.client.Enqueue(t.Context(), n)
	if err != nil {
		t.Fatalf("enqueue: %v", err)
	}
	return task
}

// await waits until cond is true for the task.
func (f *fixture) await(t *testing.T, id string, cond func(*jobs.Task) bool) *jobs.Task {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	task, err := f.store.Get(ctx, id)
	for err == nil && !cond(task) {
		task, err = f.store.Watch(ctx, id, task.Version)
	}
	if err != nil {
		last, _ := f.store.Get(context.Background(), id)
		t.Fatalf("task %s: %v; last seen %+v", id, err, last)
	}
	return task
}

func final(t *jobs.Task) bool { return t.State.Final() }

func in(s jobs.State) func(*jobs.Task) bool {
	return func(t *jobs.Task) bool { return t.State == s }
}

// onMessage is a log handler that calls a function for records with a message.
type onMessage struct {
	slog.Handler
	message string
	call    func()
}

func (onMessage) Enabled(context.Context, slog.Level) bool { return true }

func (h onMessage) Handle(_ context.Context, r slog.Record) error {
	if r.Message == h.message {
		h.call()
	}
	return nil
}

func (h onMessage) WithAttrs([]slog.Attr) slog.Handler { return h }

var echo = jobs.Definition{
	Name: "echo", Args: []jobs.Arg{{Name: "text", Type: jobs.ArgString, Default: "nothing"}},
	Handler: func(_ context.Context, job *jobs.Job) error {
		var text string
		if err := job.Args(&text); err != nil {
			return err
		}
		return job.Return(map[string]string{"said": text})
	},
}
