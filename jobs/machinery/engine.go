package machinery

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/RichardKnop/machinery/v2/backends/iface"
	brokers "github.com/RichardKnop/machinery/v2/brokers/iface"
	"github.com/RichardKnop/machinery/v2/config"
	"github.com/RichardKnop/machinery/v2/tasks"

	"github.com/galeserver/gale/jobs"
)

// engine is machinery's broker and its result backend, over a Store.
//
// machinery's worker writes what a task comes to in several steps: its state,
// then each callback, then the acknowledgement; a crash between two of them
// loses or doubles something. The engine keeps these steps while the task runs
// and hands them to the store as one Outcome.
type engine struct {
	worker *Worker
	config *config.Config

	mu    sync.Mutex
	names []string
	runs  map[string]*run // by task id
}

var (
	_ brokers.Broker = (*engine)(nil)
	_ iface.Backend  = (*engine)(nil)
)

func (e *engine) begin(r *run) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.runs[r.lease.Task.ID] = r
}

func (e *engine) end(r *run) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.runs[r.lease.Task.ID] == r {
		delete(e.runs, r.lease.Task.ID)
	}
}

// running returns the attempts under way.
func (e *engine) running() []*run {
	e.mu.Lock()
	defer e.mu.Unlock()
	all := make([]*run, 0, len(e.runs))
	for _, r := range e.runs {
		all = append(all, r)
	}
	return all
}

// runOf returns the attempt that a message belongs to.
func (e *engine) runOf(s *tasks.Signature) (*run, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if s != nil {
		if r := e.runs[s.UUID]; r != nil && r.signature == s {
			return r, nil
		}
	}
	return nil, errors.New("no such task is running here")
}

// invoke is what machinery calls for every task, whatever its name.
func (e *engine) invoke(ctx context.Context) error {
	r, err := e.runOf(tasks.SignatureFromContext(ctx))
	if err != nil {
		return err
	}
	return r.call()
}

// The broker.

func (e *engine) GetConfig() *config.Config { return e.config }

func (e *engine) SetRegisteredTaskNames(names []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.names = slices.Clone(names)
}

func (e *engine) IsTaskRegistered(name string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Contains(e.names, name)
}

// StartConsuming works until StopConsuming, then returns when the attempts
// under way have ended. It never asks to be called again.
func (e *engine) StartConsuming(_ string, concurrency int, p brokers.TaskProcessor) (bool, error) {
	e.worker.consume(concurrency, p.Process)
	return false, nil
}

func (e *engine) StopConsuming() { e.worker.stopLeasing(jobs.ErrShutdown) }

// Publish accepts a task, or keeps it for the outcome of the one that sends it.
func (e *engine) Publish(ctx context.Context, s *tasks.Signature) error {
	for _, r := range e.running() {
		if r.publishes(s) {
			return nil
		}
	}
	e.AdjustRoutingKey(s)
	n, err := newTask(s)
	if err != nil {
		return err
	}
	_, _, err = (&jobs.Client{Store: e.worker.store}).Enqueue(ctx, n)
	return err
}

func (e *engine) AdjustRoutingKey(s *tasks.Signature) {
	if s.RoutingKey == "" {
		s.RoutingKey = e.config.DefaultQueue
	}
}

func (e *engine) GetPendingTasks(string) ([]*tasks.Signature, error) { return nil, unsupported() }
func (e *engine) GetDelayedTasks() ([]*tasks.Signature, error)       { return nil, unsupported() }

// The backend. What the store knows from the lease needs no second writing.

func (e *engine) SetStatePending(*tasks.Signature) error  { return nil }
func (e *engine) SetStateReceived(*tasks.Signature) error { return nil }
func (e *engine) SetStateStarted(*tasks.Signature) error  { return nil }

func (e *engine) SetStateRetry(s *tasks.Signature) error {
	_, err := e.runOf(s) // Publish follows, with the time of the next attempt
	return err
}

func (e *engine) SetStateSuccess(s *tasks.Signature, _ []*tasks.TaskResult) error {
	r, err := e.runOf(s)
	if err != nil {
		return err
	}
	r.ends(jobs.StateSuccess, r.job.Result(), "")
	return nil
}

func (e *engine) SetStateFailure(s *tasks.Signature, reason string) error {
	r, err := e.runOf(s)
	if err != nil {
		return err
	}
	r.ends(jobs.StateFailed, nil, reason)
	return nil
}

func (e *engine) GetState(id string) (*tasks.TaskState, error) {
	t, err := e.worker.store.Get(context.Background(), id)
	if err != nil {
		return nil, err
	}
	return stateOf(t), nil
}

func (e *engine) IsAMQP() bool { return false }

// Groups are the store's: it counts members in the step in which they end and
// accepts the callback in the same one. machinery's way, to ask afterwards who
// was the last, loses chords, so its worker is never told of a group
// (SendGroup), and its server cannot send one.

func (e *engine) InitGroup(string, []string) error         { return unsupported() }
func (e *engine) GroupCompleted(string, int) (bool, error) { return false, unsupported() }
func (e *engine) TriggerChord(string) (bool, error)        { return false, unsupported() }
func (e *engine) PurgeState(string) error                  { return unsupported() }
func (e *engine) PurgeGroupMeta(string) error              { return unsupported() }
func (e *engine) GroupTaskStates(string, int) ([]*tasks.TaskState, error) {
	return nil, unsupported()
}

func unsupported() error {
	return fmt.Errorf("not offered by this task store: %w", errors.ErrUnsupported)
}
