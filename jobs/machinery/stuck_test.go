package machinery_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
	"github.com/galeserver/gale/jobs/machinery"
)

// If a handler ignores the end of its context, its attempt fails as any other, other tasks
// finish, and Run returns ErrStuck.
func TestStuckHandler(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	stuck := jobs.Definition{Name: "stuck", Timeout: 50 * time.Millisecond, Handler: func(_ context.Context, job *jobs.Job) error {
		<-release
		job.Progress(99, "too late")
		return job.Return("too late")
	}}
	begun, goOn := make(chan struct{}), make(chan struct{})
	neighbour := jobs.Definition{Name: "neighbour", Handler: func(context.Context, *jobs.Job) error {
		close(begun)
		<-goOn
		return nil
	}}
	f := newFixture(t, stuck, neighbour)
	w, err := machinery.New(f.store, f.tasks, machinery.Options{Owner: "w", Overrun: 50 * time.Millisecond, CancelPoll: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	beside := f.enqueue(t, jobs.NewTask{Name: "neighbour"}).ID
	go func() { ended <- w.Run(t.Context()) }() // ends with the stuck handler
	<-begun
	failed := f.enqueue(t, jobs.NewTask{Name: "stuck"}).ID
	f.await(t, failed, final)
	later := f.enqueue(t, jobs.NewTask{Name: "stuck"}).ID
	close(goOn)
	if err := <-ended; !errors.Is(err, machinery.ErrStuck) {
		t.Errorf("Run = %v, want ErrStuck", err)
	}
	task := f.await(t, failed, final)
	if task.State != jobs.StateFailed || len(task.Failures) != 1 || task.Error != "timed out after 50ms, and did not stop within 50ms" {
		t.Errorf("the stuck task is %+v", task)
	}
	f.await(t, beside, in(jobs.StateSuccess))
	if task := f.await(t, later, func(*jobs.Task) bool { return true }); task.State != jobs.StateQueued || task.Attempts != 0 {
		t.Errorf("the task that was enqueued later is %+v", task)
	}
}

// A task whose handler ignores its time limit is retried by the next worker. A handler that
// ignores a cancellation also ends the worker, and its task stays cancelled.
func TestStuckHandlerIsTriedAgain(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	stuck := jobs.Definition{Name: "stuck", Timeout: 20 * time.Millisecond, MaxRetries: 1, Handler: func(_ context.Context, job *jobs.Job) error {
		if job.Attempt == 1 {
			<-release
		}
		return nil
	}}
	forever := jobs.Definition{Name: "forever", Handler: func(context.Context, *jobs.Job) error {
		<-release
		return nil
	}}
	f := newFixture(t, stuck, forever)
	run := func() error {
		w, err := machinery.New(f.store, f.tasks, machinery.Options{Owner: "w", Overrun: 20 * time.Millisecond, CancelPoll: 10 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		return w.Run(t.Context())
	}
	retried := f.enqueue(t, jobs.NewTask{Name: "stuck"}).ID
	if err := run(); !errors.Is(err, machinery.ErrStuck) {
		t.Errorf("Run = %v, want ErrStuck", err)
	}
	if task := f.await(t, retried, in(jobs.StateRetrying)); len(task.Failures) != 1 {
		t.Errorf("the stuck task is %+v", task)
	}
	ended := make(chan error, 1)
	go func() { ended <- run() }() // ends with the stuck handler
	f.await(t, retried, in(jobs.StateSuccess))
	cancelled := f.enqueue(t, jobs.NewTask{Name: "forever"}).ID
	f.await(t, cancelled, in(jobs.StateRunning))
	if _, err := f.store.Cancel(t.Context(), cancelled); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, machinery.ErrStuck) {
		t.Errorf("Run = %v, want ErrStuck", err)
	}
	f.await(t, cancelled, in(jobs.StateCancelled))
}

// The log of a task has the lines of all attempts and can be read while the task runs and
// after its end.
func TestTaskLog(t *testing.T) {
	goOn := make(chan struct{})
	talk := jobs.Definition{Name: "talk", MaxRetries: 1, Handler: func(_ context.Context, job *jobs.Job) error {
		job.Log.Info("begun", "attempt", job.Attempt, "odd", "a\nb")
		job.Log.Debug("not kept")
		if job.Attempt == 1 {
			<-goOn
			return jobs.RetryAfter(time.Millisecond, errors.New("again"))
		}
		for i := range 3000 {
			job.Log.Info("filling the log", "line", i)
		}
		job.Log.Warn("done")
		return nil
	}}
	f := newFixture(t, talk)
	f.work(t, machinery.Options{})
	id := f.enqueue(t, jobs.NewTask{Name: "talk"}).ID
	log := func() string {
		text, err := f.store.Log(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	for end := time.Now().Add(60 * time.Second); !strings.Contains(log(), `level=INFO msg=begun attempt=1 odd="a\nb"`); {
		if time.Now().After(end) {
			t.Fatalf("the log of the running task is %q", log())
		}
		<-time.After(5 * time.Millisecond)
	}
	close(goOn)
	f.await(t, id, in(jobs.StateSuccess))
	text := log()
	if len(text) > driver.MaxLog || !strings.HasSuffix(text, "level=WARN msg=done\n") || !strings.HasPrefix(text, "time=") || strings.Contains(text, "not kept") {
		t.Errorf("%d bytes: %.100q … %q", len(text), text, text[max(0, len(text)-100):])
	}
}

// Weights determine how often a queue is first, and no queue is left out.
func TestWeightedQueues(t *testing.T) {
	nothing := jobs.Definition{Name: "nothing", Handler: func(context.Context, *jobs.Job) error { return nil }}
	f := newFixture(t, nothing)
	for _, bad := range [][]int{{1}, {1, 0}, {1, -1}, {1, 1, 1}} {
		if _, err := machinery.New(f.store, f.tasks, machinery.Options{Owner: "w", Queues: []string{"a", "b"}, Weights: bad}); err == nil {
			t.Errorf("weights %v are accepted", bad)
		}
	}
	const n = 300
	g := jobs.NewGroup{}
	for i := range n {
		for _, q := range []string{"often", "seldom"} {
			g.Members = append(g.Members, jobs.NewTask{ID: fmt.Sprint(q, i), Name: "nothing", Queue: q})
		}
	}
	if _, _, err := f.client.EnqueueGroup(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	f.work(t, machinery.Options{Queues: []string{"seldom", "often"}, Weights: []int{1, 9}, Concurrency: 1})
	f.await(t, fmt.Sprint("often", n-1), in(jobs.StateSuccess))
	seldom := 0
	for i := range n {
		if task, err := f.store.Get(t.Context(), fmt.Sprint("seldom", i)); err == nil && task.State == jobs.StateSuccess {
			seldom++
		}
	}
	if seldom < 5 || seldom > n/2 { // expected: a ninth of 300; outside of these bounds once in a million runs
		t.Errorf("%d tasks of the low-weight queue, %d of the other", seldom, n)
	}
	f.await(t, fmt.Sprint("seldom", n-1), in(jobs.StateSuccess))
}
