package machinery_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/artifacts"
	"github.com/galeserver/gale/jobs/driver"
	"github.com/galeserver/gale/jobs/machinery"
)

func TestTaskRunsToItsResult(t *testing.T) {
	f := newFixture(t, echo)
	f.work(t, machinery.Options{})
	a := f.enqueue(t, jobs.NewTask{Name: "echo", Args: json.RawMessage(`["hällo <&>"]`)})
	b := f.enqueue(t, jobs.NewTask{Name: "echo"})
	for id, want := range map[string]string{a.ID: "hällo <&>", b.ID: "nothing"} {
		task := f.await(t, id, final)
		var result map[string]string
		if err := json.Unmarshal(task.Result, &result); err != nil || result["said"] != want {
			t.Errorf("result %s, %v; want %q", task.Result, err, want)
		}
		if task.State != jobs.StateSuccess || task.Progress != 100 || task.Attempts != 1 ||
			task.Worker != "test/worker.0" || task.Started == nil || task.Finished == nil || task.Error != "" {
			t.Errorf("task %+v", task)
		}
	}
}

func TestWhatCannotRunIsNotAccepted(t *testing.T) {
	f := newFixture(t, echo)
	for name, c := range map[string]struct {
		n    jobs.NewTask
		want error
	}{
		"unknown task":   {jobs.NewTask{Name: "nope"}, jobs.ErrUnknownTask},
		"too many":       {jobs.NewTask{Name: "echo", Args: json.RawMessage(`["a","b"]`)}, jobs.ErrArgs},
		"wrong type":     {jobs.NewTask{Name: "echo", Args: json.RawMessage(`[7]`)}, jobs.ErrArgs},
		"null":           {jobs.NewTask{Name: "echo", Args: json.RawMessage(`[null]`)}, jobs.ErrArgs},
		"no array":       {jobs.NewTask{Name: "echo", Args: json.RawMessage(`{"text":"a"}`)}, jobs.ErrArgs},
		"too large":      {jobs.NewTask{Name: "echo", Args: json.RawMessage(`["` + strings.Repeat("x", jobs.MaxArgs) + `"]`)}, jobs.ErrArgs},
		"id types":       {jobs.NewTask{Name: "echo", ID: "types"}, jobs.ErrOption},
		"id with slash":  {jobs.NewTask{Name: "echo", ID: "../x"}, jobs.ErrOption},
		"id dots":        {jobs.NewTask{Name: "echo", ID: ".."}, jobs.ErrOption},
		"id too long":    {jobs.NewTask{Name: "echo", ID: strings.Repeat("x", 129)}, jobs.ErrOption},
		"queue":          {jobs.NewTask{Name: "echo", Queue: "a b"}, jobs.ErrOption},
		"timeout":        {jobs.NewTask{Name: "echo", Timeout: -1}, jobs.ErrOption},
		"retries":        {jobs.NewTask{Name: "echo", MaxRetries: -1}, jobs.ErrOption},
		"many retries":   {jobs.NewTask{Name: "echo", MaxRetries: jobs.MaxRetries + 1}, jobs.ErrOption},
		"eta in the far": {jobs.NewTask{Name: "echo", RunAt: time.Now().AddDate(100, 0, 0)}, jobs.ErrOption},
	} {
		t.Run(name, func(t *testing.T) {
			if _, _, err := f.client.Enqueue(t.Context(), c.n); !errors.Is(err, c.want) {
				t.Errorf("got %v; want %v", err, c.want)
			}
		})
	}
}

func TestFailureKeepsItsReason(t *testing.T) {
	f := newFixture(t,
		jobs.Definition{Name: "fail", Handler: func(context.Context, *jobs.Job) error { return errors.New("no such planet") }},
		jobs.Definition{Name: "panic", Handler: func(context.Context, *jobs.Job) error { panic("division by cucumber") }},
	)
	f.work(t, machinery.Options{})
	for name, want := range map[string]string{"fail": "no such planet", "panic": "panic: division by cucumber"} {
		task := f.await(t, f.enqueue(t, jobs.NewTask{Name: name}).ID, final)
		if task.State != jobs.StateFailed || task.Error != want || len(task.Failures) != 1 || task.Failures[0].Error != want {
			t.Errorf("%s: %+v", name, task)
		}
	}
}

func TestRetry(t *testing.T) {
	var calls atomic.Int32
	f := newFixture(t, jobs.Definition{Name: "flaky", Handler: func(_ context.Context, job *jobs.Job) error {
		if n := calls.Add(1); n < 2 {
			return errors.New("not yet")
		}
		return job.Return(job.Attempt)
	}})
	f.work(t, machinery.Options{})
	id := f.enqueue(t, jobs.NewTask{Name: "flaky", MaxRetries: 3}).ID
	waiting := f.await(t, id, func(t *jobs.Task) bool { return t.State == jobs.StateRetrying || final(t) })
	if waiting.State != jobs.StateRetrying || waiting.Error == "" && len(waiting.Failures) != 1 {
		t.Errorf("after the first attempt: %+v", waiting)
	}
	if d := time.Until(waiting.RunAt); d > time.Second {
		t.Errorf("next attempt in %v; want within 1s", d)
	}
	task := f.await(t, id, final)
	if task.State != jobs.StateSuccess || task.Attempts != 2 || string(task.Result) != "2" || len(task.Failures) != 1 || task.Failures[0].Error != "not yet" {
		t.Errorf("in the end: %+v", task)
	}
}

func TestTimeoutEndsTheAttempt(t *testing.T) {
	f := newFixture(t, jobs.Definition{Name: "hang", Handler: func(ctx context.Context, _ *jobs.Job) error {
		<-ctx.Done()
		return ctx.Err()
	}})
	f.work(t, machinery.Options{})
	task := f.await(t, f.enqueue(t, jobs.NewTask{Name: "hang", Timeout: 50 * time.Millisecond}).ID, final)
	if task.State != jobs.StateFailed || task.Error != "timed out after 50ms" {
		t.Errorf("%+v", task)
	}
}

func TestProgressAndArtifacts(t *testing.T) {
	step := make(chan struct{})
	f := newFixture(t, jobs.Definition{Name: "paint", Handler: func(ctx context.Context, job *jobs.Job) error {
		job.Progress(40, "mixing colours")
		<-step
		w, err := job.Artifact("picture.txt")
		if err != nil {
			return err
		}
		if _, err := io.WriteString(w, "a tree"); err != nil {
			return err
		}
		if _, err := job.Artifact("../../evil"); !errors.Is(err, artifacts.ErrName) {
			return errors.New("an artifact may be called ../../evil")
		}
		job.Progress(90, "signing") // too soon after the first: stored with the outcome
		return w.Close()
	}})
	f.work(t, machinery.Options{})
	id := f.enqueue(t, jobs.NewTask{Name: "paint"}).ID
	task := f.await(t, id, func(t *jobs.Task) bool { return t.Progress > 0 })
	if task.State != jobs.StateRunning || task.Progress != 40 || task.Note != "mixing colours" {
		t.Errorf("midway: %+v", task)
	}
	if _, err := f.files.Open(t.Context(), id, "picture.txt"); err == nil {
		t.Error("the artifact is visible before Close")
	}
	close(step)
	task = f.await(t, id, final)
	if task.State != jobs.StateSuccess || task.Progress != 100 || task.Note != "signing" || len(task.Artifacts) != 1 || task.Artifacts[0] != "picture.txt" {
		t.Errorf("in the end: %+v", task)
	}
	file, err := f.files.Open(t.Context(), id, "picture.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if text, _ := io.ReadAll(file); string(text) != "a tree" {
		t.Errorf("artifact %q", text)
	}
	for _, name := range []string{"..", ".picture.txt.1", "", "a/b", "../jobs.db"} {
		if _, err := f.files.Open(t.Context(), id, name); err == nil {
			t.Errorf("artifact %q can be opened", name)
		}
	}
}

// Artifacts that a handler has not closed when the attempt ends are dropped.
func TestArtifactsNotClosed(t *testing.T) {
	var left io.WriteCloser
	f := newFixture(t, jobs.Definition{Name: "paint", Handler: func(_ context.Context, job *jobs.Job) error {
		var err error
		if left, err = job.Artifact("half.txt"); err != nil {
			return err
		}
		_, err = io.WriteString(left, "half of it")
		return err
	}})
	f.work(t, machinery.Options{})
	id := f.enqueue(t, jobs.NewTask{Name: "paint"}).ID
	if task := f.await(t, id, final); task.State != jobs.StateSuccess || len(task.Artifacts) != 0 {
		t.Errorf("%+v", task)
	}
	if err := left.Close(); err == nil {
		t.Error("Close succeeds after the end of the attempt")
	}
	if _, err := f.files.Open(t.Context(), id, "half.txt"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("open: %v", err)
	}
}

// A worker leases and runs no more than Concurrency tasks at the same time.
func TestConcurrencyIsBounded(t *testing.T) {
	var running, most atomic.Int32
	began, release := make(chan struct{}, 10), make(chan struct{})
	f := newFixture(t, jobs.Definition{Name: "wait", Handler: func(context.Context, *jobs.Job) error {
		n := running.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		began <- struct{}{}
		<-release
		running.Add(-1)
		return nil
	}})
	var ids []string
	for range 10 {
		ids = append(ids, f.enqueue(t, jobs.NewTask{Name: "wait"}).ID)
	}
	f.work(t, machinery.Options{Concurrency: 3})
	for range 3 {
		<-began
	}
	count := func(s jobs.State) (n int) {
		for _, id := range ids {
			if task, err := f.store.Get(t.Context(), id); err == nil && task.State == s {
				n++
			}
		}
		return n
	}
	if n := count(jobs.StateQueued); n != 7 {
		t.Errorf("%d tasks wait in the queue; want 7", n)
	}
	close(release)
	for _, id := range ids {
		f.await(t, id, in(jobs.StateSuccess))
	}
	if most.Load() != 3 {
		t.Errorf("%d tasks ran at once; want 3", most.Load())
	}
}

func TestStopFinishesWhatRunsAndTakesNoMore(t *testing.T) {
	began, release := make(chan struct{}, 2), make(chan struct{})
	f := newFixture(t, jobs.Definition{Name: "wait", Handler: func(context.Context, *jobs.Job) error {
		began <- struct{}{}
		<-release
		return nil
	}})
	stopping := make(chan struct{})
	log := slog.New(onMessage{slog.DiscardHandler, "worker stopping; waiting for running tasks", sync.OnceFunc(func() { close(stopping) })})
	stop := f.work(t, machinery.Options{Concurrency: 1, Logger: log})
	first := f.enqueue(t, jobs.NewTask{Name: "wait"})
	<-began
	second := f.enqueue(t, jobs.NewTask{Name: "wait"})
	stopped := make(chan struct{})
	go func() { stop(); close(stopped) }() // ends with the worker
	<-stopping
	close(release)
	<-stopped
	if task, _ := f.store.Get(t.Context(), first.ID); task.State != jobs.StateSuccess {
		t.Errorf("task that was running: %+v", task)
	}
	if task, _ := f.store.Get(t.Context(), second.ID); task.State != jobs.StateQueued || task.Attempts != 0 {
		t.Errorf("task that was waiting: %+v", task)
	}
}

// After the grace period all tasks are released, even if their handlers ignore the end of
// the context, and another worker starts them at once.
func TestGraceIsOver(t *testing.T) {
	var attempts atomic.Int32
	forever := make(chan struct{})
	t.Cleanup(func() { close(forever) })
	f := newFixture(t,
		jobs.Definition{Name: "polite", Handler: func(ctx context.Context, job *jobs.Job) error {
			if job.Attempt > 1 {
				return nil
			}
			attempts.Add(1)
			<-ctx.Done()
			return ctx.Err()
		}},
		jobs.Definition{Name: "deaf", Handler: func(_ context.Context, job *jobs.Job) error {
			if job.Attempt > 1 {
				return nil
			}
			attempts.Add(1)
			<-forever
			return nil
		}},
	)
	stop := f.work(t, machinery.Options{Grace: 100 * time.Millisecond})
	polite, deaf := f.enqueue(t, jobs.NewTask{Name: "polite"}), f.enqueue(t, jobs.NewTask{Name: "deaf"})
	f.await(t, polite.ID, in(jobs.StateRunning))
	f.await(t, deaf.ID, in(jobs.StateRunning))
	stop()
	for _, id := range []string{polite.ID, deaf.ID} {
		if task, _ := f.store.Get(t.Context(), id); task.State != jobs.StateQueued || len(task.Failures) != 0 {
			t.Errorf("released task: %+v", task)
		}
	}
	f.work(t, machinery.Options{Owner: "test/worker.1"})
	for _, id := range []string{polite.ID, deaf.ID} {
		if task := f.await(t, id, final); task.State != jobs.StateSuccess || task.Attempts != 2 {
			t.Errorf("second attempt: %+v", task)
		}
	}
}

// beats is a store that reports each extended lease.
type beats struct {
	driver.Store
	extended chan string
}

func (b *beats) Extend(ctx context.Context, leases []*driver.Lease) ([]*driver.Lease, error) {
	lost, err := b.Store.Extend(ctx, leases)
	if err == nil && len(lost) == 0 {
		for _, l := range leases {
			b.extended <- l.Task.ID
		}
	}
	return lost, err
}

// The lease of a running task is extended until the task ends.
func TestHeartbeatKeepsTheLease(t *testing.T) {
	end := make(chan struct{})
	f := newFixture(t, jobs.Definition{Name: "long", Handler: func(context.Context, *jobs.Job) error {
		<-end
		return nil
	}})
	b := &beats{Store: f.store, extended: make(chan string)}
	w, err := machinery.New(b, f.tasks, machinery.Options{Owner: "test/worker.0", Artifacts: f.files, Heartbeat: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }() // ends with ctx
	id := f.enqueue(t, jobs.NewTask{Name: "long"}).ID
	for range 3 {
		if got := <-b.extended; got != id {
			t.Errorf("the lease of %s was extended", got)
		}
	}
	close(end)
	go func() { // ends when the worker has
		for range b.extended {
		}
	}()
	if task := f.await(t, id, final); task.State != jobs.StateSuccess || task.Attempts != 1 {
		t.Errorf("%+v", task)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("worker: %v", err)
	}
	close(b.extended)
}

// When a worker has lost a lease, it ends the context of the handler and drops the outcome.
func TestLostLeaseStopsTheHandler(t *testing.T) {
	cause := make(chan error, 1)
	f := newFixture(t, jobs.Definition{Name: "slow", Handler: func(ctx context.Context, job *jobs.Job) error {
		if job.Attempt > 1 {
			return job.Return("second")
		}
		<-ctx.Done()
		cause <- context.Cause(ctx)
		return job.Return("first")
	}})
	stop := f.work(t, machinery.Options{Heartbeat: 100 * time.Millisecond, Concurrency: 1})
	id := f.enqueue(t, jobs.NewTask{Name: "slow"}).ID
	f.await(t, id, in(jobs.StateRunning))
	if n, err := f.store.Reclaim(t.Context(), "test/worker.0"); err != nil || n != 1 {
		t.Fatalf("reclaim: %d, %v", n, err)
	}
	if err := <-cause; !errors.Is(err, jobs.ErrLeaseLost) {
		t.Errorf("the handler's context ended with %v", err)
	}
	if task := f.await(t, id, final); string(task.Result) != `"second"` || task.Attempts != 2 {
		t.Errorf("%+v", task)
	}
	stop()
}

// With Successor, the tasks of the dead process are due at once.
func TestSuccessorTakesOver(t *testing.T) {
	f := newFixture(t, echo)
	id := f.enqueue(t, jobs.NewTask{Name: "echo"}).ID
	if _, err := f.store.Lease(t.Context(), driver.LeaseRequest{
		Owner: "test/worker.0", Queues: []string{jobs.DefaultQueue}, Names: []string{"echo"}, Max: 1,
	}); err != nil {
		t.Fatal(err)
	}
	f.work(t, machinery.Options{Successor: true})
	if task := f.await(t, id, final); task.State != jobs.StateSuccess || task.Attempts != 2 {
		t.Errorf("%+v", task)
	}
}
