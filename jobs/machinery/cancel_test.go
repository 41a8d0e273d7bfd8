package machinery_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/machinery"
	"github.com/galeserver/gale/jobs/meter"
	"github.com/galeserver/gale/jobs/sqlite"
)

// The context of a cancelled task's handler ends soon, and the handler's result is dropped.
func TestCancelRunning(t *testing.T) {
	for name, handler := range map[string]func(context.Context, *jobs.Job) error{
		"and fails":    func(ctx context.Context, _ *jobs.Job) error { return context.Cause(ctx) },
		"and succeeds": func(_ context.Context, job *jobs.Job) error { return job.Return("too late") },
		"ignores it": func(_ context.Context, job *jobs.Job) error {
			job.Progress(99, "still here")
			return errors.New("gave up later")
		},
	} {
		t.Run(name, func(t *testing.T) {
			causes := make(chan error, 1)
			f := newFixture(t, jobs.Definition{Name: "wait", Handler: func(ctx context.Context, job *jobs.Job) error {
				<-ctx.Done()
				causes <- context.Cause(ctx)
				return handler(ctx, job)
			}}, echo)
			stop := f.work(t, machinery.Options{Concurrency: 1, CancelPoll: 10 * time.Millisecond})
			task := f.enqueue(t, jobs.NewTask{Name: "wait", MaxRetries: 3})
			f.await(t, task.ID, in(jobs.StateRunning))
			cancelled, err := f.client.Cancel(t.Context(), task.ID)
			if err != nil || cancelled.State != jobs.StateCancelled {
				t.Fatalf("%+v, %v", cancelled, err)
			}
			select {
			case cause := <-causes:
				if !errors.Is(cause, jobs.ErrCancelled) || !errors.Is(cause, jobs.ErrLeaseLost) {
					t.Errorf("the context ended with %v", cause)
				}
			case <-time.After(60 * time.Second):
				t.Fatal("the context of the handler did not end")
			}
			// The worker can run another task.
			f.await(t, f.enqueue(t, jobs.NewTask{Name: "echo"}).ID, in(jobs.StateSuccess))
			stop()
			if got := f.await(t, task.ID, final); got.Version != cancelled.Version || got.State != jobs.StateCancelled {
				t.Errorf("ended task is %+v", got)
			}
		})
	}
}

// pairedGets is a store whose Get waits until two calls are in progress.
type pairedGets struct {
	*sqlite.Store
	calls atomic.Int32
	two   chan struct{}
}

func (p *pairedGets) Get(ctx context.Context, id string) (*jobs.Task, error) {
	if p.calls.Add(1) == 2 {
		close(p.two)
	}
	select {
	case <-p.two:
	case <-ctx.Done():
	}
	return p.Store.Get(ctx, id)
}

// countFailed counts failed attempts.
type countFailed struct {
	meter.Meter
	failed atomic.Int32
}

func (c *countFailed) Count(e meter.Event, _, _ string) {
	if e == meter.EventFailed {
		c.failed.Add(1)
	}
}

// The heartbeat and the check for cancelled tasks find a cancelled task at the same time:
// it is counted once.
func TestCancelCountedOnce(t *testing.T) {
	f := newFixture(t, jobs.Definition{Name: "wait", Handler: func(ctx context.Context, _ *jobs.Job) error {
		<-ctx.Done()
		return context.Cause(ctx)
	}})
	store, counter := &pairedGets{Store: f.store, two: make(chan struct{})}, &countFailed{Meter: meter.NoMeter{}}
	w, err := machinery.New(store, f.tasks, machinery.Options{
		Owner: "test/worker.0", Concurrency: 1, CancelPoll: 10 * time.Millisecond, Heartbeat: 10 * time.Millisecond, Meter: counter, Artifacts: f.files,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }() // ends with ctx
	task := f.enqueue(t, jobs.NewTask{Name: "wait"})
	f.await(t, task.ID, in(jobs.StateRunning))
	if _, err := f.client.Cancel(t.Context(), task.ID); err != nil {
		t.Fatal(err)
	}
	<-store.two
	testutil.Eventually(t, "the cancelled task is counted", func() bool { return counter.failed.Load() > 0 })
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if n := counter.failed.Load(); n != 1 {
		t.Errorf("counted %d times", n)
	}
}

// A handler can set the delay of the next attempt, or prevent a next attempt.
func TestRetryAsTheHandlerSays(t *testing.T) {
	inner := errors.New("upstream is away")
	f := newFixture(t,
		jobs.Definition{Name: "later", Handler: func(context.Context, *jobs.Job) error { return jobs.RetryAfter(time.Hour, inner) }},
		jobs.Definition{Name: "soon", Handler: func(_ context.Context, job *jobs.Job) error {
			if job.Attempt < 3 {
				return jobs.RetryAfter(0, inner)
			}
			return nil
		}},
		jobs.Definition{Name: "never", Handler: func(context.Context, *jobs.Job) error { return jobs.NoRetry(inner) }},
	)
	f.work(t, machinery.Options{})
	later := f.await(t, f.enqueue(t, jobs.NewTask{Name: "later", MaxRetries: 1}).ID, in(jobs.StateRetrying))
	if d := time.Until(later.RunAt); d < 50*time.Minute || d > time.Hour {
		t.Errorf("next attempt in %v, want an hour", d)
	}
	if soon := f.await(t, f.enqueue(t, jobs.NewTask{Name: "soon", MaxRetries: 2}).ID, final); soon.State != jobs.StateSuccess || len(soon.Failures) != 2 {
		t.Errorf("%+v", soon)
	}
	never := f.await(t, f.enqueue(t, jobs.NewTask{Name: "never", MaxRetries: 9}).ID, final)
	if never.State != jobs.StateFailed || len(never.Failures) != 1 || never.Error != inner.Error() {
		t.Errorf("%+v", never)
	}
	asked, ok := errors.AsType[*jobs.RetryError](jobs.RetryAfter(time.Minute, inner))
	if !ok || asked.After != time.Minute || !errors.Is(asked, inner) {
		t.Errorf("%+v", asked)
	}
}
