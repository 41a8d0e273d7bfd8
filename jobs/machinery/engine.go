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

// engine implements machinery's broker and result backend on a Store.
//
// machinery's worker writes the end of a task in several steps: its state, each callback,
// the acknowledgement. A crash between two steps loses or duplicates something. The
// engine collects the steps and stores them as one Outcome.
type engine struct {
	worker *Worker
	config *config.Config

	mu    sync.Mutex
	names []string
	runs  map[string]*run // attempts under way, by task id
	some  chan struct{}   // closed while there are runs
}

var (
	_ brokers.Broker = (*engine)(nil)
	_ iface.Backend  = (*engine)(nil)
)

func (e *engine) begin(r *run) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.runs) == 0 {
		close(e.some)
	}
	e.runs[r.lease.Task.ID] = r
}

// busy returns a channel that is closed when an attempt is under way.
func (e *engine) busy() <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.some
}

func (e *engine) end(r *run) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.runs[r.lease.Task.ID] == r {
		delete(e.runs, r.lease.Task.ID)
		if len(e.runs) == 0 {
			e.some = make(chan struct{})
		}
	}
}

// running returns all attempts under way.
func (e *engine) running() []*run {
	e.mu.Lock()
	defer e.mu.Unlock()
	all := make([]*run, 0, len(e.runs))
	for _, r := range e.runs {
		all = append(all, r)
	}
	return all
}

// runOf returns the attempt to which a signature belongs.
func (e *engine) runOf(s *tasks.Signature) (*run, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if s != nil {
		if r := e.runs[s.UUID]; r != nil && r.signature == s {
			return r, nil
		}
	}
	return nil, errors.New("the task is not running in this worker")
}

// invoke is registered with machinery as the function of every task.
func (e *engine) invoke(ctx context.Context) error {
	r, err := e.runOf(tasks.SignatureFromContext(ctx))
	if err != nil {
		return err
	}
	return r.call()
}

// Methods of the broker.

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

// StartConsuming runs tasks until StopConsuming is called, and returns when all attempts
// have ended. Its first result is false: machinery must not call it again.
func (e *engine) StartConsuming(_ string, concurrency int, p brokers.TaskProcessor) (bool, error) {
	e.worker.consume(concurrency, p.Process)
	return false, nil
}

func (e *engine) StopConsuming() { e.worker.stopLeasing(jobs.ErrShutdown) }

// Publish enqueues a task. If it is the retry of a running task, it becomes part of that
// task's outcome.
func (e *engine) Publish(ctx context.Context, s *tasks.Signature) error {
	for _, r := range e.running() {
		if r.setRetry(s) {
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

// Methods of the result backend. The first three do nothing, because Store.Lease has already
// set the state.

func (e *engine) SetStatePending(*tasks.Signature) error  { return nil }
func (e *engine) SetStateReceived(*tasks.Signature) error { return nil }
func (e *engine) SetStateStarted(*tasks.Signature) error  { return nil }

func (e *engine) SetStateRetry(s *tasks.Signature) error {
	_, err := e.runOf(s) // machinery calls Publish next, with the time of the next attempt
	return err
}

func (e *engine) SetStateSuccess(s *tasks.Signature, _ []*tasks.TaskResult) error {
	r, err := e.runOf(s)
	if err != nil {
		return err
	}
	r.setOutcome(jobs.StateSuccess, r.job.Result(), "")
	return nil
}

func (e *engine) SetStateFailure(s *tasks.Signature, reason string) error {
	r, err := e.runOf(s)
	if err != nil {
		return err
	}
	r.setOutcome(jobs.StateFailed, nil, reason)
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

// The store implements groups: it counts a member, and enqueues the callback, in the step
// in which the member ends. machinery determines the last member in a later step and can
// lose callbacks. Therefore groups are not passed to machinery (see SendGroup), and
// machinery's methods for groups return an error.

func (e *engine) InitGroup(string, []string) error         { return unsupported() }
func (e *engine) GroupCompleted(string, int) (bool, error) { return false, unsupported() }
func (e *engine) TriggerChord(string) (bool, error)        { return false, unsupported() }
func (e *engine) PurgeState(string) error                  { return unsupported() }
func (e *engine) PurgeGroupMeta(string) error              { return unsupported() }
func (e *engine) GroupTaskStates(string, int) ([]*tasks.TaskState, error) {
	return nil, unsupported()
}

func unsupported() error {
	return fmt.Errorf("not supported by this task store: %w", errors.ErrUnsupported)
}
