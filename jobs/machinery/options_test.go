package machinery_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/RichardKnop/machinery/v2/tasks"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/machinery"
)

// All faults of a task are reported at once, and nothing is accepted.
func TestRefusedTasks(t *testing.T) {
	nothing := func(context.Context, *jobs.Job) error { return nil }
	f := newFixture(t, jobs.Definition{Name: "typed", Handler: nothing, Args: []jobs.Arg{
		{Name: "text", Type: jobs.ArgString}, {Name: "count", Type: jobs.ArgInteger}, {Name: "ratio", Type: jobs.ArgNumber}, {Name: "sure", Type: jobs.ArgBoolean, Default: true},
	}})
	good := json.RawMessage(`["a",1,0.5]`)
	for _, row := range []struct {
		task jobs.NewTask
		want error
		says []string
	}{
		{jobs.NewTask{Args: json.RawMessage(`[1,"x"]`)}, jobs.ErrArgs, []string{
			"argument 1 of typed, text, must be a string", "argument 2 of typed, count, must be an integer", "argument 3 of typed, ratio, is missing"}},
		{jobs.NewTask{Args: json.RawMessage(`["a",1.5,"x",0,null]`)}, jobs.ErrArgs, []string{
			"argument 2 of", "argument 3 of", "argument 4 of typed, sure, must be a boolean", "takes at most 4 arguments, got 5"}},
		{jobs.NewTask{Args: json.RawMessage(`["a",12345678901234567890,1]`)}, jobs.ErrArgs, []string{"argument 2 of"}},
		{jobs.NewTask{Args: json.RawMessage(`{"text":"a"}`)}, jobs.ErrArgs, []string{"JSON array"}},
		{jobs.NewTask{Args: good, Timeout: -1, MaxRetries: 101, Queue: "a b"}, jobs.ErrOption, []string{"timeout", "max_retries 101", `queue "a b"`}},
		{jobs.NewTask{Args: good, Expires: time.Now().Add(-time.Second)}, jobs.ErrOption, []string{"expires is in the past"}},
		{jobs.NewTask{Args: good, RunAt: time.Now().Add(time.Hour), Expires: time.Now().Add(time.Minute)}, jobs.ErrOption, []string{"expires is not after eta"}},
		{jobs.NewTask{Args: good, Unique: "key"}, jobs.ErrOption, []string{"both unique and unique_for"}},
		{jobs.NewTask{Args: good, UniqueFor: time.Hour}, jobs.ErrOption, []string{"both unique and unique_for"}},
		{jobs.NewTask{Args: good, Unique: strings.Repeat("k", 257), UniqueFor: 1e6 * time.Hour}, jobs.ErrOption, []string{"unique is not UTF-8 text", "unique_for"}},
	} {
		row.task.ID, row.task.Name = "refused", "typed"
		_, created, err := f.client.Enqueue(t.Context(), row.task)
		if created || !errors.Is(err, row.want) {
			t.Errorf("%+v: %v, %v; want %v", row.task, created, err, row.want)
			continue
		}
		for _, says := range row.says {
			if !strings.Contains(err.Error(), says) {
				t.Errorf("error %v, want one that contains %q", err, says)
			}
		}
	}
	if _, err := f.store.Get(t.Context(), "refused"); !errors.Is(err, jobs.ErrNotFound) {
		t.Errorf("a task was accepted: %v", err)
	}
}

// A task without a queue is enqueued in the queue of its definition, also as the next task
// of a chain.
func TestRouting(t *testing.T) {
	routed := double
	routed.Queue, routed.MaxRetries, routed.Timeout = "media", 3, time.Minute
	f := newFixture(t, routed)
	if task := f.enqueue(t, jobs.NewTask{Name: "double", Args: json.RawMessage(`[1]`)}); task.Queue != "media" || task.MaxRetries != 3 {
		t.Errorf("%+v", task)
	}
	if task := f.enqueue(t, jobs.NewTask{Name: "double", Args: json.RawMessage(`[1]`), Queue: "mine", Timeout: time.Hour}); task.Queue != "mine" || task.Timeout != time.Hour {
		t.Errorf("%+v", task)
	}
	chain, err := tasks.NewChain(signature("double", 1), signature("double"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := machinery.SendChain(t.Context(), f.client, chain); err != nil {
		t.Fatal(err)
	}
	var warnings atomic.Int32
	warned := onMessage{message: "worker does not serve the queue of a task", call: func() { warnings.Add(1) }}
	f.work(t, machinery.Options{Owner: "other", Logger: slog.New(warned)})()
	stop := f.work(t, machinery.Options{Queues: []string{"media"}, Logger: slog.New(warned)})
	f.await(t, chain.Tasks[0].UUID, in(jobs.StateSuccess))
	stop()
	if n := warnings.Load(); n != 1 {
		t.Errorf("%d of two workers warned about the queue, want 1", n)
	}
	if next := f.await(t, chain.Tasks[1].UUID, func(*jobs.Task) bool { return true }); next.Queue != "media" || next.MaxRetries != 3 || next.Timeout != time.Minute {
		t.Errorf("the next task of the chain is %+v", next)
	}
}

// A client without definitions can enqueue tasks, too.
func TestClientWithoutRegistry(t *testing.T) {
	f := newFixture(t, double)
	client := &jobs.Client{Store: f.store}
	task, created, err := client.Enqueue(t.Context(), jobs.NewTask{Name: "double", Args: json.RawMessage(`[21]`)})
	if err != nil || !created || task.Queue != jobs.DefaultQueue {
		t.Fatalf("Enqueue = %+v, %v, %v", task, created, err)
	}
	f.work(t, machinery.Options{})
	if task, err = client.Wait(t.Context(), task.ID); err != nil || string(task.Result) != "42" {
		t.Errorf("Wait = %+v, %v", task, err)
	}
	if _, _, err := client.Enqueue(t.Context(), jobs.NewTask{Name: "no name"}); !errors.Is(err, jobs.ErrUnknownTask) {
		t.Errorf("a name that no task can have: %v", err)
	}
	gone, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("enough"))
	if _, err := client.Wait(gone, task.ID); err == nil {
		t.Error("Wait did not end with its context")
	}
}
