package workerapi_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/meter"
	"github.com/galeserver/gale/jobs/sqlite"
	"github.com/galeserver/gale/jobs/workerapi"
)

// A worker announces, leases, reports and finishes, each call in another process.
func TestProtocol(t *testing.T) {
	t.Parallel()
	p := newPlace(t, 3, sqlite.Options{})
	a, b, c := p.processes[0], p.processes[1], p.processes[2]
	session := announce(t, a, workerapi.Task{Name: "print", MaxRetries: 1, Timeout: 60, SoftTimeout: 50, Queue: "slow"})
	task := p.enqueue(t, jobs.NewTask{Name: "print", Args: json.RawMessage(`["ü"]`)})
	if task.Queue != "slow" || task.MaxRetries != 1 || task.Timeout != time.Minute {
		t.Errorf("defaults of the announcement: %+v", task)
	}
	r, err := b.Lease(t.Context(), workerapi.LeaseRequest{Session: session, Queues: []string{"other", "slow"}, Max: 5})
	if err != nil || len(r.Leases) != 1 {
		t.Fatalf("leased %+v, %v", r, err)
	}
	l := r.Leases[0]
	if l.Task.ID != task.ID || string(l.Task.Args) != `["ü"]` || l.Retries != 0 || l.Timeout != 60 || l.SoftTimeout != 50 || !strings.HasPrefix(l.Task.Worker, "box.0~") {
		t.Errorf("leased %+v, task %+v", l, l.Task)
	}
	if r := c.Progress(t.Context(), []workerapi.ProgressEntry{{Lease: l.Lease, Progress: new(30.4), Note: new("half"), Meta: json.RawMessage(`{"row":1}`)}}); r[0].Code != 200 {
		t.Errorf("progress: %+v", r)
	}
	if r := a.Log(t.Context(), []workerapi.LogEntry{{Lease: l.Lease, Lines: "one\ntwo"}}); r[0].Code != 200 {
		t.Errorf("log: %+v", r)
	}
	got := p.state(t, task.ID, jobs.StateRunning)
	if got.Progress != 30 || got.Note != "half" || string(got.Result) != `{"row":1}` {
		t.Errorf("running task is %+v", got)
	}
	finish(t, b, workerapi.FinishEntry{Lease: l.Lease, State: "retry", Error: "broken", Delay: new(0.0)}, 200, jobs.StateRetrying)
	r, err = a.Lease(t.Context(), workerapi.LeaseRequest{Session: session, Queues: []string{"slow"}})
	if err != nil || len(r.Leases) != 1 || r.Leases[0].Retries != 1 {
		t.Fatalf("leased %+v, %v", r, err)
	}
	// Repeated calls with the first lease get its state, although another attempt runs.
	finish(t, c, workerapi.FinishEntry{Lease: l.Lease, State: "success"}, 200, jobs.StateRetrying)
	l = r.Leases[0]
	for range 2 {
		finish(t, c, workerapi.FinishEntry{Lease: l.Lease, State: "success", Result: json.RawMessage(`{"pages": 3}`)}, 200, jobs.StateSuccess)
	}
	got = p.state(t, task.ID, jobs.StateSuccess)
	if string(got.Result) != `{"pages": 3}` || len(got.Failures) != 1 || got.Attempts != 2 {
		t.Errorf("task is %+v", got)
	}
	if text, err := p.store.Log(t.Context(), task.ID); err != nil || text != "one\ntwo\n" {
		t.Errorf("log %q, %v", text, err)
	}
	for e, want := range map[meter.Event]uint64{meter.EventStarted: 2, meter.EventRetried: 1, meter.EventSucceeded: 1, meter.EventRedelivered: 0} {
		if n := p.count(e); n != want {
			t.Errorf("%s: %d, want %d", e, n, want)
		}
	}
}

// A cancelled task, and one that the worker finishes itself, while extend waits.
func TestExtend(t *testing.T) {
	t.Parallel()
	p := newPlace(t, 2, sqlite.Options{})
	s := p.processes[0]
	session := announce(t, s, named("work")...)
	for _, id := range []string{"done", "cancelled", "lost"} {
		p.enqueue(t, jobs.NewTask{ID: id, Name: "work"})
	}
	ids := map[string]string{}
	var holds []string
	for _, l := range lease(t, s, session, 3) {
		ids[l.Task.ID] = l.Lease
		holds = append(holds, l.Lease)
	}
	type reply struct {
		r   workerapi.ExtendResponse
		err error
	}
	extend := func(s *workerapi.Service, holds ...string) <-chan reply {
		replies := make(chan reply, 1)
		go func() { // ends with Extend
			r, err := s.Extend(t.Context(), workerapi.ExtendRequest{Session: session, Holds: holds, Wait: new(50.0)})
			replies <- reply{r, err}
		}()
		return replies
	}
	waiting := extend(s, holds...)
	finish(t, p.processes[1], workerapi.FinishEntry{Lease: ids["done"], State: "success"}, 200, jobs.StateSuccess)
	if _, err := p.store.Cancel(t.Context(), "cancelled"); err != nil {
		t.Fatal(err)
	}
	got := <-waiting
	if got.err != nil || !slices.Equal(got.r.Cancelled, []string{ids["cancelled"]}) || len(got.r.Lost) != 0 {
		t.Errorf("after a cancel: %+v, %v", got.r, got.err)
	}
	finish(t, s, workerapi.FinishEntry{Lease: ids["cancelled"], State: "success"}, 409, "")

	waiting = extend(p.processes[1], ids["lost"])
	if n, err := p.store.Reclaim(t.Context(), session); n != 1 || err != nil {
		t.Fatalf("reclaimed %d, %v", n, err)
	}
	if got := <-waiting; got.err != nil || !slices.Equal(got.r.Lost, []string{ids["lost"]}) || len(got.r.Cancelled) != 0 {
		t.Errorf("after a loss: %+v, %v", got.r, got.err)
	}
	finish(t, s, workerapi.FinishEntry{Lease: ids["lost"], State: "success"}, 409, "")

	waiting = extend(s, lease(t, s, session, 1)[0].Lease)
	s.Drain()
	if got := <-waiting; got.err != nil || len(got.r.Lost)+len(got.r.Cancelled) != 0 {
		t.Errorf("of a draining process: %+v, %v", got.r, got.err)
	}
	if r, err := s.Lease(t.Context(), workerapi.LeaseRequest{Session: session, Wait: new(50.0)}); err != nil || len(r.Leases) != 0 {
		t.Errorf("lease of a draining process: %+v, %v", r, err)
	}
}

// 500 responses to lease and finish are lost. No task is lost, and none counts an attempt
// that was lost or failed.
func TestLostResponses(t *testing.T) {
	t.Parallel()
	const tasks = 250
	p := newPlace(t, 2, sqlite.Options{})
	session := announce(t, p.processes[0], workerapi.Task{Name: "work", MaxRetries: 3})
	for range tasks {
		p.enqueue(t, jobs.NewTask{Name: "work"})
	}
	lost := 0
	var ids []string
	for done := 0; done < tasks; {
		s := p.processes[done%2]
		if all := lease(t, s, session, 3); len(all) == 0 {
			t.Fatal("no lease")
		} // its response is lost, so the worker repeats the call, maybe in another process
		lost++
		all := lease(t, p.processes[(done+1)%2], session, 3)
		var entries []workerapi.FinishEntry
		for _, l := range all {
			ids = append(ids, l.Task.ID)
			entries = append(entries, workerapi.FinishEntry{Lease: l.Lease, State: "success"})
		}
		for i := range 4 { // the responses to three of four calls are lost
			for _, r := range p.processes[i%2].Finish(t.Context(), entries) {
				if r.Code != 200 || r.State != jobs.StateSuccess {
					t.Fatalf("finish: %+v", r)
				}
			}
			if i < 3 {
				lost += len(entries)
			}
		}
		done += len(all)
	}
	if lost < 500 {
		t.Errorf("only %d responses were lost", lost)
	}
	slices.Sort(ids)
	if n := len(slices.Compact(ids)); n != tasks {
		t.Errorf("%d tasks ran, want %d", n, tasks)
	}
	for _, id := range ids[:tasks] {
		if got := p.state(t, id, jobs.StateSuccess); len(got.Failures) != 0 {
			t.Errorf("task is %+v", got)
		}
	}
	for e, want := range map[meter.Event]uint64{meter.EventSucceeded: tasks, meter.EventRetried: 0, meter.EventFailed: 0, meter.EventRedelivered: 0, meter.EventDead: 0} {
		if n := p.count(e); n != want {
			t.Errorf("%s: %d, want %d", e, n, want)
		}
	}
}

// A second lease call of a session ends the first, also in another process, and gets the
// task that the first one would have got.
func TestOneLeaseCall(t *testing.T) {
	t.Parallel()
	for name, second := range map[string]int{"same process": 0, "other process": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t, 2, sqlite.Options{})
			session := announce(t, p.processes[0], named("work")...)
			first := make(chan int, 1)
			go func() { first <- len(lease(t, p.processes[0], session, 1)) }() // ends with Lease
			testutil.Eventually(t, "the first call", func() bool {
				all, err := p.store.Records(t.Context(), "worker-call")
				return err == nil && len(all) == 1
			})
			got := make(chan int, 1)
			go func() { got <- len(lease(t, p.processes[second], session, 1)) }() // ends with Lease
			if second == 0 {
				if n := <-first; n != 0 {
					t.Errorf("the first call leased %d tasks", n)
				}
			}
			p.enqueue(t, jobs.NewTask{ID: "a", Name: "work"})
			if n := <-got; n != 1 {
				t.Errorf("the second call leased %d tasks", n)
			}
			if got := p.state(t, "a", jobs.StateRunning); len(got.Failures) != 0 {
				t.Errorf("task is %+v", got)
			}
		})
	}
}
