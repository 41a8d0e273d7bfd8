package machinery

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"testing"

	"github.com/RichardKnop/machinery/v2/tasks"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
)

// memory has the methods of a Store that machinery's engine calls.
type memory struct {
	driver.Store
	mu       sync.Mutex
	enqueued []jobs.NewTask
	finished []driver.Outcome
}

func (m *memory) Enqueue(_ context.Context, n jobs.NewTask) (*jobs.Task, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.enqueued = append(m.enqueued, n)
	return &jobs.Task{ID: n.ID}, true, nil
}

func (m *memory) Finish(_ context.Context, _ *driver.Lease, o driver.Outcome) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.finished = append(m.finished, o)
	return nil
}

// attemptOn runs a task with machinery's worker and returns the outcome passed to the store.
func attemptOn(t *testing.T, handler jobs.Handler, signature *tasks.Signature) (*memory, driver.Outcome) {
	t.Helper()
	registry, err := jobs.NewRegistry(jobs.Definition{Name: "first", Handler: handler}, jobs.Definition{Name: "next", Handler: handler})
	if err != nil {
		t.Fatal(err)
	}
	m := &memory{}
	w, err := New(m, registry, Options{Owner: "test"})
	if err != nil {
		t.Fatal(err)
	}
	n, err := newTask(signature)
	if err != nil {
		t.Fatal(err)
	}
	task := &jobs.Task{ID: n.ID, Name: n.Name, Queue: "default", Args: n.Args, Signature: n.Signature}
	w.attempt(&driver.Lease{Task: task, Owner: "test", Attempt: 1}, w.server.NewWorker("test", 1).Process)
	if len(m.finished) != 1 {
		t.Fatalf("finished %d times", len(m.finished))
	}
	return m, m.finished[0]
}

func chain(immutable bool) *tasks.Signature {
	return &tasks.Signature{
		UUID: "a", Name: "first", Immutable: immutable,
		OnSuccess: []*tasks.Signature{{UUID: "b", Name: "next", RoutingKey: "slow", Args: []tasks.Arg{{Type: "int64", Value: int64(1) << 60}}}},
		OnError:   []*tasks.Signature{{UUID: "c", Name: "next"}},
	}
}

// machinery publishes callbacks after it has set the state. A crash between the two would
// lose the rest of the chain, so the worker stores both as one outcome.
func TestCallbacksArePartOfTheOutcome(t *testing.T) {
	ok := func(_ context.Context, job *jobs.Job) error { return job.Return(map[string]int{"n": 7}) }
	for _, c := range []struct {
		name      string
		immutable bool
		args      string
	}{{"result passed on", false, `[1152921504606846976,{"n":7}]`}, {"immutable", true, `[1152921504606846976]`}} {
		t.Run(c.name, func(t *testing.T) {
			m, o := attemptOn(t, ok, chain(c.immutable))
			if o.State != jobs.StateSuccess || len(m.enqueued) != 0 || len(o.Next) != 1 {
				t.Fatalf("outcome %+v, enqueued beside it %+v", o, m.enqueued)
			}
			if n := o.Next[0]; n.ID != "b" || n.Name != "next" || n.Queue != "slow" || string(n.Args) != c.args {
				t.Errorf("next %+v, args %s; want %s", n, n.Args, c.args)
			}
		})
	}
}

func TestErrorCallbackIsPartOfTheOutcome(t *testing.T) {
	m, o := attemptOn(t, func(context.Context, *jobs.Job) error { return errors.New("boom") }, chain(false))
	if o.State != jobs.StateFailed || o.Error != "boom" || len(m.enqueued) != 0 || len(o.Next) != 1 || o.Next[0].ID != "c" || string(o.Next[0].Args) != `["boom"]` {
		t.Errorf("outcome %+v", o)
	}
}

func TestUnreadableTaskIsDead(t *testing.T) {
	registry, _ := jobs.NewRegistry(jobs.Definition{Name: "first", Handler: func(context.Context, *jobs.Job) error { return nil }})
	for name, task := range map[string]*jobs.Task{
		"args":      {ID: "a", Name: "first", Args: json.RawMessage(`{}`)},
		"signature": {ID: "a", Name: "first", Args: json.RawMessage(`[]`), Signature: []byte(`{`)},
	} {
		m := &memory{}
		w, err := New(m, registry, Options{Owner: "test"})
		if err != nil {
			t.Fatal(err)
		}
		w.attempt(&driver.Lease{Task: task, Attempt: 1}, func(*tasks.Signature) error { t.Error("run"); return nil })
		if len(m.finished) != 1 || m.finished[0].State != jobs.StateDead || m.finished[0].Error == "" {
			t.Errorf("%s: %+v", name, m.finished)
		}
	}
}

// Tasks that machinery's server sends are enqueued in the store. Groups and chords, which
// the server does not send in one step, are refused.
func TestPublish(t *testing.T) {
	registry, _ := jobs.NewRegistry(jobs.Definition{Name: "first", Handler: func(context.Context, *jobs.Job) error { return nil }})
	m := &memory{}
	w, err := New(m, registry, Options{Owner: "test"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.server.SendTask(&tasks.Signature{UUID: "a", Name: "first", Args: []tasks.Arg{{Type: "string", Value: "x"}}}); err != nil {
		t.Fatal(err)
	}
	if len(m.enqueued) != 1 || m.enqueued[0].Queue != jobs.DefaultQueue || string(m.enqueued[0].Args) != `["x"]` {
		t.Errorf("enqueued %+v", m.enqueued)
	}
	_, err = w.server.SendTask(&tasks.Signature{UUID: "b", Name: "first", ChordCallback: &tasks.Signature{Name: "first"}})
	if err == nil || len(m.enqueued) != 1 {
		t.Errorf("a chord was accepted: %v", err)
	}
}

// late is a store that leases a task after the worker was stopped.
type late struct {
	memory
	stop     context.CancelFunc
	released chan *driver.Lease
}

func (s *late) Lease(ctx context.Context, _ driver.LeaseRequest) ([]*driver.Lease, error) {
	s.stop()
	<-ctx.Done()
	return []*driver.Lease{{Task: &jobs.Task{ID: "a", Name: "first", Args: json.RawMessage(`[]`)}, Owner: "test", Attempt: 1}}, nil
}

func (s *late) Release(_ context.Context, l *driver.Lease) error {
	s.released <- l
	return nil
}

// A task that is leased while the worker stops is released at once and not started.
func TestTaskLeasedTooLateIsGivenBack(t *testing.T) {
	registry, err := jobs.NewRegistry(jobs.Definition{Name: "first", Handler: func(context.Context, *jobs.Job) error {
		t.Error("the task was started")
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	s := &late{stop: cancel, released: make(chan *driver.Lease, 1)}
	w, err := New(s, registry, Options{Owner: "test"})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Run(ctx); err != nil {
		t.Error(err)
	}
	if len(s.released) != 1 || len(s.finished) != 0 {
		t.Errorf("released %d, finished %+v", len(s.released), s.finished)
	}
}
