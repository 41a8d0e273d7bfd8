package workerapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"testing"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
	"github.com/galeserver/gale/jobs/meter"
	"github.com/galeserver/gale/jobs/sqlite"
	"github.com/galeserver/gale/jobs/workerapi"
)

// place is a task store with several processes that serve workers.
type place struct {
	path      string
	store     driver.Store
	client    *jobs.Client
	processes []*workerapi.Service
	counts    *meter.Counters
}

// newPlace opens a task store and starts processes, until the test ends.
func newPlace(t *testing.T, processes int, o sqlite.Options) *place {
	t.Helper()
	return newPlaceWith(t, processes, o, workerapi.Options{})
}

func newPlaceWith(t *testing.T, processes int, o sqlite.Options, served workerapi.Options) *place {
	t.Helper()
	p := &place{path: filepath.Join(t.TempDir(), "jobs.db"), counts: new(meter.Counters)}
	tasks, err := jobs.NewRegistry()
	if err != nil {
		t.Fatal(err)
	}
	for range processes {
		o.Meter = p.counts
		store, err := sqlite.Open(p.path, o)
		if err != nil {
			t.Fatal(err)
		}
		client := &jobs.Client{Store: store, Tasks: tasks, Meter: p.counts}
		served.Meter, served.DecodeTask = p.counts, decodeName
		s := workerapi.New(store, client, served)
		client.Announced = s.Directory()
		p.store, p.client, p.processes = store, client, append(p.processes, s)
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }() // ends with the test
		t.Cleanup(func() {
			s.Drain()
			cancel()
			if err := errors.Join(<-done, store.Close()); err != nil {
				t.Error(err)
			}
		})
	}
	return p
}

// decodeName decodes a task of next that has only a name and an id.
func decodeName(raw json.RawMessage) (n jobs.NewTask, err error) {
	err = json.Unmarshal(raw, &n)
	return n, err
}

func (p *place) count(e meter.Event) (n uint64) {
	for _, c := range p.counts.All() {
		if c.Event == e {
			n += c.Total
		}
	}
	return n
}

// announce announces a worker of the tasks and returns its session.
func announce(t *testing.T, s *workerapi.Service, tasks ...workerapi.Task) string {
	t.Helper()
	r, err := s.Announce(t.Context(), workerapi.AnnounceRequest{Worker: "box.0", Version: "1", Tasks: tasks})
	if err != nil {
		t.Fatal(err)
	}
	return r.Session
}

func named(names ...string) (all []workerapi.Task) {
	for _, n := range names {
		all = append(all, workerapi.Task{Name: n})
	}
	return all
}

func (p *place) enqueue(t *testing.T, n jobs.NewTask) *jobs.Task {
	t.Helper()
	task, _, err := p.client.Enqueue(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	return task
}

func lease(t *testing.T, s *workerapi.Service, session string, most int, holds ...string) []workerapi.Leased {
	t.Helper()
	r, err := s.Lease(t.Context(), workerapi.LeaseRequest{Session: session, Max: most, Wait: new(40.0), Holds: holds})
	if err != nil {
		t.Fatal(err)
	}
	return r.Leases
}

func finish(t *testing.T, s *workerapi.Service, e workerapi.FinishEntry, code int, state jobs.State) workerapi.Result {
	t.Helper()
	r := s.Finish(t.Context(), []workerapi.FinishEntry{e})
	if len(r) != 1 || r[0].Code != code || r[0].State != state || r[0].Lease != e.Lease {
		t.Fatalf("finish of %s as %s: %+v; want %d %s", e.Lease, e.State, r, code, state)
	}
	return r[0]
}

func (p *place) state(t *testing.T, id string, want jobs.State) *jobs.Task {
	t.Helper()
	task, err := p.store.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if task.State != want {
		t.Fatalf("task %s is %s, want %s (%s)", id, task.State, want, task.Error)
	}
	return task
}

func wantCode(t *testing.T, err error, code int) {
	t.Helper()
	if e, ok := errors.AsType[workerapi.Error](err); !ok || e.Code != code || e.Reason == "" {
		t.Errorf("error %v, want code %d", err, code)
	}
}
