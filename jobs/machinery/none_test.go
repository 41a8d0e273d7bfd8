package machinery_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/machinery"
)

// Retries and timeout of a definition apply to tasks that do not set them. NoRetries and
// NoTimeout are kept, also for the later tasks of a chain.
func TestNoneIsNotTheDefault(t *testing.T) {
	generous := double
	generous.MaxRetries, generous.Timeout = 5, time.Minute
	callback := generous
	callback.Name, callback.Args = "sum", nil
	callback.Handler = func(_ context.Context, job *jobs.Job) error { return job.Return(job.Len()) }
	f := newFixture(t, generous, callback)
	want := func(id string, retries int, timeout time.Duration) {
		t.Helper()
		if task := f.await(t, id, func(*jobs.Task) bool { return true }); task.MaxRetries != retries || task.Timeout != timeout {
			t.Errorf("%s has %d retries and %v, want %d and %v", id, task.MaxRetries, task.Timeout, retries, timeout)
		}
	}
	one := json.RawMessage(`[1]`)
	open := func(id string) jobs.NewTask { return jobs.NewTask{ID: id, Name: "double", Args: one} }
	none := func(id string) jobs.NewTask {
		n := open(id)
		n.MaxRetries, n.Timeout = jobs.NoRetries, jobs.NoTimeout
		return n
	}
	f.enqueue(t, open("open"))
	f.enqueue(t, none("none"))
	want("open", 5, time.Minute)
	want("none", 0, 0)

	sum := jobs.NewTask{ID: "sum", Name: "sum", MaxRetries: jobs.NoRetries, Timeout: jobs.NoTimeout}
	if _, _, err := f.client.EnqueueGroup(t.Context(), jobs.NewGroup{ID: "g", Members: []jobs.NewTask{none("member"), open("other")}, Callback: &sum}); err != nil {
		t.Fatal(err)
	}
	chains := map[string]*jobs.Client{"known": f.client, "unknown": {Store: f.store}} // by whether the client knows the tasks
	for kind, client := range chains {
		var chain []jobs.Link
		for _, n := range []jobs.NewTask{none(kind + "-1"), none(kind + "-2"), open(kind + "-3"), none(kind + "-4")} {
			chain = append(chain, jobs.Link{NewTask: n, Immutable: len(chain) > 0})
		}
		if _, _, err := client.EnqueueChain(t.Context(), chain); err != nil {
			t.Fatal(err)
		}
	}
	stop := f.work(t, machinery.Options{})
	for _, id := range []string{"sum", "known-1", "known-2", "known-3", "known-4", "unknown-1", "unknown-2", "unknown-3", "unknown-4"} {
		f.awaitAny(t, id)
		f.await(t, id, in(jobs.StateSuccess))
	}
	stop()
	want("member", 0, 0)
	want("other", 5, time.Minute)
	want("sum", 0, 0)
	for kind := range chains {
		want(kind+"-1", 0, 0)
		want(kind+"-2", 0, 0)
		want(kind+"-3", 5, time.Minute)
		want(kind+"-4", 0, 0)
	}
}

// awaitAny waits until the task exists.
func (f *fixture) awaitAny(t *testing.T, id string) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(30 * time.Second); ; <-tick.C {
		_, err := f.store.Get(t.Context(), id)
		if err == nil {
			return
		}
		if !errors.Is(err, jobs.ErrNotFound) || time.Now().After(end) {
			t.Fatalf("task %s: %v", id, err)
		}
	}
}

// A task without retries fails once.
func TestNoRetriesFailsOnce(t *testing.T) {
	f := newFixture(t, jobs.Definition{Name: "fail", MaxRetries: 5, Handler: func(context.Context, *jobs.Job) error { return errors.New("no luck") }})
	f.work(t, machinery.Options{})
	task := f.await(t, f.enqueue(t, jobs.NewTask{Name: "fail", MaxRetries: jobs.NoRetries}).ID, final)
	if task.State != jobs.StateFailed || task.Attempts != 1 || len(task.Failures) != 1 {
		t.Errorf("%+v", task)
	}
}
