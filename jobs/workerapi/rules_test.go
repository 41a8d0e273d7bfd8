package workerapi_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
	"github.com/galeserver/gale/jobs/meter"
	"github.com/galeserver/gale/jobs/sqlite"
	"github.com/galeserver/gale/jobs/workerapi"
)

const (
	oldSchema = `{"type":"array","prefixItems":[{"title":"to","type":"string"}],"items":false,"minItems":1}`
	newSchema = `{"type":"array","prefixItems":[{"title":"to","type":"string"},{"title":"copies","type":"integer","minimum":1}],"items":false,"minItems":2}`
)

// During a deploy two versions of a program run. Tasks for either are accepted, and each
// worker gets those that it accepts. Afterwards only the new schema counts.
func TestDeploy(t *testing.T) {
	t.Parallel()
	p := newPlace(t, 2, sqlite.Options{})
	before := announce(t, p.processes[0], workerapi.Task{Name: "mail", Schema: json.RawMessage(oldSchema)})
	old := jobs.NewTask{ID: "old", Name: "mail", Args: json.RawMessage(`["a"]`)}
	fresh := jobs.NewTask{ID: "new", Name: "mail", Kwargs: json.RawMessage(`{"to":"a","copies":2}`)}
	if _, _, err := p.client.Enqueue(t.Context(), fresh); !errors.Is(err, jobs.ErrArgs) {
		t.Errorf("arguments of the new version, before it runs: %v", err)
	}
	after := announce(t, p.processes[1], workerapi.Task{Name: "mail", Schema: json.RawMessage(newSchema)})
	p.enqueue(t, fresh)
	p.enqueue(t, old)
	for session, want := range map[string]string{before: "old", after: "new"} {
		var got []workerapi.Leased
		testutil.Eventually(t, "the lease of "+want, func() bool {
			got = lease(t, p.processes[0], session, 1)
			return len(got) > 0
		})
		if len(got) != 1 || got[0].Task.ID != want {
			t.Fatalf("%s leased %+v, want %s", session, got, want)
		}
		finish(t, p.processes[0], workerapi.FinishEntry{Lease: got[0].Lease, State: "success"}, 200, jobs.StateSuccess)
		if got := p.state(t, want, jobs.StateSuccess); len(got.Failures) != 0 {
			t.Errorf("task is %+v", got)
		}
	}
	for _, args := range []string{`[]`, `["a","b"]`, `["a",0]`, `["a",1,2]`} {
		_, _, err := p.client.Enqueue(t.Context(), jobs.NewTask{Name: "mail", Args: json.RawMessage(args)})
		if !errors.Is(err, jobs.ErrArgs) {
			t.Errorf("%s: %v", args, err)
		}
	}
	// The old worker ends.
	if _, err := p.processes[0].Announce(t.Context(), workerapi.AnnounceRequest{Worker: "x", Tasks: named("other"), Replaces: before}); err != nil {
		t.Fatal(err)
	}
	testutil.Eventually(t, "the old schema is gone", func() bool {
		_, _, err := p.client.Enqueue(t.Context(), jobs.NewTask{Name: "mail", Args: json.RawMessage(`["a"]`)})
		return errors.Is(err, jobs.ErrArgs)
	})
}

// A name that no worker has announced is refused, unless the task may wait.
func TestUnknownNames(t *testing.T) {
	t.Parallel()
	p := newPlace(t, 1, sqlite.Options{})
	n := jobs.NewTask{ID: "a", Name: "later", Args: json.RawMessage(`[1]`)}
	if _, _, err := p.client.Enqueue(t.Context(), n); !errors.Is(err, jobs.ErrUnknownTask) {
		t.Errorf("unknown name: %v", err)
	}
	n.WaitForWorker = true
	p.enqueue(t, n)
	unclaimed := func() int {
		all, err := workerapi.Depth(t.Context(), p.store)
		if err != nil || len(all) != 1 {
			t.Fatalf("%+v, %v", all, err)
		}
		return all[0].Unclaimed
	}
	if got := unclaimed(); got != 1 {
		t.Errorf("%d unclaimed tasks", got)
	}
	session := announce(t, p.processes[0], named("later")...)
	if got := lease(t, p.processes[0], session, 1); len(got) != 1 || got[0].Task.ID != "a" {
		t.Fatalf("leased %+v", got)
	}
	n.ID, n.WaitForWorker = "b", false
	p.enqueue(t, n)
	if got := unclaimed(); got != 0 {
		t.Errorf("%d unclaimed tasks while a worker serves them", got)
	}
	workers, err := p.processes[0].Directory().Workers(t.Context())
	if err != nil || len(workers) != 1 || workers[0].Name != "box.0" || !slices.Equal(workers[0].Queues, []string{"default"}) || !slices.Equal(workers[0].Tasks, []string{"later"}) {
		t.Errorf("workers %+v, %v", workers, err)
	}
}

// The end of an attempt by its process: retries up to max_retries, lost attempts up to the
// limit of the store, and released ones without one.
func TestCounts(t *testing.T) {
	t.Parallel()
	p := newPlace(t, 1, sqlite.Options{MaxLost: 3})
	s := p.processes[0]
	session := announce(t, s, named("work")...)
	p.enqueue(t, jobs.NewTask{ID: "fails", Name: "work", MaxRetries: 1})
	next := func() workerapi.Leased { return lease(t, s, session, 1)[0] }
	for i := range 4 {
		l := next()
		if l.Retries != 0 {
			t.Errorf("%d retries", l.Retries)
		}
		entry := []workerapi.ReleaseEntry{{Lease: l.Lease}}
		if i%2 == 0 {
			finish(t, s, workerapi.FinishEntry{Lease: l.Lease, State: "lost"}, 200, jobs.StateQueued)
		} else if r := s.Release(t.Context(), entry); r[0].Code != 200 || r[0].State != jobs.StateQueued {
			t.Errorf("release: %+v", r)
		}
	}
	finish(t, s, workerapi.FinishEntry{Lease: next().Lease, State: "retry", Error: "one", Delay: new(0.0)}, 200, jobs.StateRetrying)
	last := next()
	if last.Retries != 1 {
		t.Errorf("%d retries, want 1", last.Retries)
	}
	finish(t, s, workerapi.FinishEntry{Lease: last.Lease, State: "retry", Error: "two"}, 200, jobs.StateFailed)
	if got := p.state(t, "fails", jobs.StateFailed); got.Error != "two" || len(got.Failures) != 2 {
		t.Errorf("task is %+v", got)
	}

	p.enqueue(t, jobs.NewTask{ID: "kills", Name: "work"})
	for range 2 {
		finish(t, s, workerapi.FinishEntry{Lease: next().Lease, State: "lost"}, 200, jobs.StateQueued)
	}
	finish(t, s, workerapi.FinishEntry{Lease: next().Lease, State: "lost"}, 200, jobs.StateDead)
	p.state(t, "kills", jobs.StateDead)

	p.enqueue(t, jobs.NewTask{ID: "first", Name: "work"})
	finish(t, s, workerapi.FinishEntry{Lease: next().Lease, State: "success", Next: []json.RawMessage{[]byte(`{"ID":"second","Name":"work"}`)}}, 200, jobs.StateSuccess)
	if got := next(); got.Task.ID != "second" {
		t.Errorf("next is %s", got.Task.ID)
	}
	if n := p.count(meter.EventDead); n != 1 {
		t.Errorf("%d dead letters", n)
	}
}

// The server ends an attempt that runs for longer than its time limit and the overrun.
func TestTimeout(t *testing.T) {
	t.Parallel()
	p := newPlace(t, 1, sqlite.Options{LeaseTTL: time.Hour})
	s := p.processes[0]
	session := announce(t, s, named("work")...)
	p.enqueue(t, jobs.NewTask{ID: "a", Name: "work", Timeout: time.Second, MaxRetries: 1})
	l := lease(t, s, session, 1)[0]
	// The same lease, as if its deadline were over.
	parts := strings.Split(l.Lease, "~")
	parts[3] = "1"
	over := strings.Join(parts, "~")
	r, err := s.Extend(t.Context(), workerapi.ExtendRequest{Session: session, Holds: []string{over}})
	if err != nil || !slices.Equal(r.Lost, []string{over}) {
		t.Errorf("extend: %+v, %v", r, err)
	}
	if got := p.state(t, "a", jobs.StateRetrying); !strings.Contains(got.Error, "timed out after 1s") || len(got.Failures) != 1 {
		t.Errorf("task is %+v", got)
	}
	finish(t, s, workerapi.FinishEntry{Lease: l.Lease, State: "success"}, 409, "")
}

// A worker that replaces a dead one gets its tasks at once.
func TestReplaces(t *testing.T) {
	t.Parallel()
	p := newPlace(t, 2, sqlite.Options{LeaseTTL: time.Hour})
	dead := announce(t, p.processes[0], named("work")...)
	p.enqueue(t, jobs.NewTask{ID: "a", Name: "work"})
	l := lease(t, p.processes[0], dead, 1)[0]
	for range 2 { // the first response is lost
		r, err := p.processes[1].Announce(t.Context(), workerapi.AnnounceRequest{Worker: "box.0", Tasks: named("work"), Replaces: dead})
		if err != nil {
			t.Fatal(err)
		}
		if r.TTL != 30 || r.Limits.Result != 1<<20 || r.Limits.Wait != 50 {
			t.Errorf("announced: %+v", r)
		}
	}
	finish(t, p.processes[1], workerapi.FinishEntry{Lease: l.Lease, State: "success"}, 409, "")
	if got := p.count(meter.EventRedelivered); got != 1 {
		t.Errorf("%d lost leases", got)
	}
	_, err := p.processes[1].Lease(t.Context(), workerapi.LeaseRequest{Session: dead, Wait: new(0.0)})
	wantCode(t, err, 410)
}

// Progress is stored at most two times a second for each lease, and the newest one counts.
func TestProgressRate(t *testing.T) {
	t.Parallel()
	p := newPlace(t, 1, sqlite.Options{})
	s := p.processes[0]
	session := announce(t, s, named("work")...)
	before := p.enqueue(t, jobs.NewTask{ID: "a", Name: "work"}).Version
	l := lease(t, s, session, 1)[0].Lease
	began := time.Now()
	const reports = 200
	for i := range reports {
		percent, note := float64(i)/2, fmt.Sprint(i)
		r := s.Progress(t.Context(), []workerapi.ProgressEntry{{Lease: l, Progress: &percent, Note: &note}})
		if r[0].Code != 200 {
			t.Fatalf("%+v", r)
		}
	}
	finish(t, s, workerapi.FinishEntry{Lease: l, State: "failed", Error: "x"}, 200, jobs.StateFailed)
	got := p.state(t, "a", jobs.StateFailed)
	if got.Note != "199" || got.Progress != 100 {
		t.Errorf("task is %+v", got)
	}
	// One write for the lease and one for the end; the flush before the end is one more.
	if writes, most := got.Version-before-2, int64(time.Since(began)/(500*time.Millisecond))+3; writes > most {
		t.Errorf("%d writes of progress, want at most %d", writes, most)
	}
}

// Bad input gets a clear error and changes nothing.
func TestBadInput(t *testing.T) {
	t.Parallel()
	p := newPlace(t, 1, sqlite.Options{})
	s := p.processes[0]
	for name, r := range map[string]workerapi.AnnounceRequest{
		"no worker":    {Tasks: named("a")},
		"long worker":  {Worker: strings.Repeat("x", 101), Tasks: named("a")},
		"no tasks":     {Worker: "w"},
		"twice":        {Worker: "w", Tasks: named("a", "a")},
		"name":         {Worker: "w", Tasks: named("a b")},
		"queue":        {Worker: "w", Tasks: []workerapi.Task{{Name: "a", Queue: "a b"}}},
		"retries":      {Worker: "w", Tasks: []workerapi.Task{{Name: "a", MaxRetries: 101}}},
		"timeout":      {Worker: "w", Tasks: []workerapi.Task{{Name: "a", Timeout: -1}}},
		"rate":         {Worker: "w", Tasks: []workerapi.Task{{Name: "a", Rate: "often"}}},
		"schema":       {Worker: "w", Tasks: []workerapi.Task{{Name: "a", Schema: []byte(`{"type":"text"}`)}}},
		"large schema": {Worker: "w", Tasks: []workerapi.Task{{Name: "a", Schema: []byte(`{"title":"` + strings.Repeat("x", 64<<10) + `"}`)}}},
		"replaces":     {Worker: "w", Tasks: named("a"), Replaces: "x"},
	} {
		_, err := s.Announce(t.Context(), r)
		t.Run(name, func(t *testing.T) { wantCode(t, err, 400) })
	}
	if all, err := p.store.Records(t.Context(), "worker-session"); err != nil || len(all) != 0 {
		t.Errorf("sessions %v, %v", all, err)
	}
	session := announce(t, s, named("work")...)
	p.enqueue(t, jobs.NewTask{ID: "a", Name: "work"})
	l := lease(t, s, session, 1)[0].Lease
	before := p.state(t, "a", jobs.StateRunning)
	for name, r := range map[string]workerapi.LeaseRequest{
		"max": {Session: session, Max: -1}, "wait": {Session: session, Wait: new(51.0)}, "queue": {Session: session, Queues: []string{"a b"}}, "holds": {Session: session, Holds: []string{"x"}},
	} {
		_, err := s.Lease(t.Context(), r)
		t.Run("lease "+name, func(t *testing.T) { wantCode(t, err, 400) })
	}
	for _, unknown := range []string{"", "x", "box~unknown", "~"} {
		_, err := s.Extend(t.Context(), workerapi.ExtendRequest{Session: unknown, Holds: []string{l}, Wait: new(0.0)})
		wantCode(t, err, 410)
	}
	for name, e := range map[string]struct {
		entry workerapi.FinishEntry
		code  int
	}{
		"lease":    {workerapi.FinishEntry{Lease: "x", State: "success"}, 400},
		"session":  {workerapi.FinishEntry{Lease: strings.Replace(l, "box", "bax", 1), State: "success"}, 409},
		"state":    {workerapi.FinishEntry{Lease: l, State: "done"}, 400},
		"delay":    {workerapi.FinishEntry{Lease: l, State: "retry", Delay: new(-1.0)}, 400},
		"result":   {workerapi.FinishEntry{Lease: l, State: "success", Result: []byte(`"` + strings.Repeat("x", 1<<20) + `"`)}, 413},
		"artifact": {workerapi.FinishEntry{Lease: l, State: "success", Artifacts: []string{"a.txt"}}, 400},
		"next":     {workerapi.FinishEntry{Lease: l, State: "success", Next: []json.RawMessage{[]byte(`{"Name":"unknown"}`)}}, 400},
	} {
		t.Run("finish "+name, func(t *testing.T) { finish(t, s, e.entry, e.code, "") })
	}
	for name, e := range map[string]workerapi.ProgressEntry{"NaN": {Lease: l, Progress: new(math.NaN())}, "meta": {Lease: l, Meta: []byte(`"` + strings.Repeat("x", 4<<10) + `"`)}} {
		if r := s.Progress(t.Context(), []workerapi.ProgressEntry{e}); r[0].Code < 400 || r[0].Reason == "" {
			t.Errorf("progress %s: %+v", name, r)
		}
	}
	if err := s.StoreArtifact(t.Context(), l, "a.txt", 1, strings.NewReader("x")); err == nil {
		t.Error("an artifact without a folder for artifacts was accepted")
	}
	if got := p.state(t, "a", jobs.StateRunning); got.Version != before.Version {
		t.Errorf("task has changed to %+v", got)
	}
	finish(t, s, workerapi.FinishEntry{Lease: l, State: "success"}, 200, jobs.StateSuccess)
}

// The lease of a call whose client has gone is released, and nothing is counted.
func TestClientGone(t *testing.T) {
	t.Parallel()
	p := newPlace(t, 1, sqlite.Options{})
	s := p.processes[0]
	session := announce(t, s, named("work")...)
	p.enqueue(t, jobs.NewTask{ID: "a", Name: "work"})
	foreign, err := p.store.Lease(t.Context(), driver.LeaseRequest{Owner: session, Queues: []string{"default"}, Names: []string{"work"}, Max: 1})
	if err != nil || len(foreign) != 1 { // what a process leased whose response was lost
		t.Fatal(err)
	}
	if got := lease(t, s, session, 1); len(got) != 1 || got[0].Task.Attempts != 2 || got[0].Retries != 0 {
		t.Errorf("leased %+v", got)
	}
	if n := p.count(meter.EventRedelivered); n != 0 {
		t.Errorf("%d lost leases", n)
	}
}
