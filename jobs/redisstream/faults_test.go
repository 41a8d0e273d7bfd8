package redisstream_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/galeserver/gale/internal/redistest"
	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
	"github.com/galeserver/gale/jobs/meter"
	"github.com/galeserver/gale/jobs/redisstream"
)

// open opens a store with time limits for a busy machine, unless o sets others.
func open(t testing.TB, address string, o redisstream.Options) *redisstream.Store {
	t.Helper()
	o.Patience = cmp.Or(o.Patience, time.Minute)
	s, err := redisstream.Open(t.Context(), address, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func work(owner string, max int, names ...string) driver.LeaseRequest {
	return driver.LeaseRequest{Owner: owner, Queues: []string{"default"}, Names: append(names, "work"), Max: max}
}

func enqueue(t testing.TB, s driver.Store, ids ...string) {
	t.Helper()
	for _, id := range ids {
		if _, _, err := s.Enqueue(t.Context(), jobs.NewTask{ID: id, Name: "work"}); err != nil {
			t.Fatal(err)
		}
	}
}

// lease leases the tasks that are due within a time. It returns nothing if there are none.
func lease(t testing.TB, s driver.Store, r driver.LeaseRequest, within time.Duration) (leases []*driver.Lease) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	leases, err := s.Lease(ctx, r)
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("Lease: %v", err)
	}
	return leases
}

func ids(leases []*driver.Lease) (all []string) {
	for _, l := range leases {
		all = append(all, l.Task.ID)
	}
	return all
}

// awaitAccepted waits until a restarted server has an accepted task again. Until then no
// call may report that the task does not exist.
func awaitAccepted(t *testing.T, s *redisstream.Store, id string) {
	t.Helper()
	testutil.Eventually(t, id+" is there again", func() bool {
		_, err := s.Get(t.Context(), id)
		if errors.Is(err, jobs.ErrNotFound) {
			t.Errorf("%v, of a task that was accepted", err)
		}
		return err == nil
	})
}

// If the server has ended or is stopped, calls for which a client waits fail within a
// second. They succeed when the server runs again.
func TestEnqueueFailsFast(t *testing.T) {
	server := redistest.StartAOF(t)
	patient := open(t, server.URL(), redisstream.Options{})
	s := open(t, server.URL(), redisstream.Options{Patience: redisstream.DefaultPatience})
	enqueue(t, patient, "before")
	try := func(what string) {
		t.Helper()
		for name, call := range map[string]func() error{
			"Enqueue": func() error {
				_, _, err := s.Enqueue(t.Context(), jobs.NewTask{ID: "during", Name: "work"})
				return err
			},
			"Get":   func() error { _, err := s.Get(t.Context(), "before"); return err },
			"Depth": func() error { _, err := s.Depth(t.Context()); return err },
		} {
			// The call has no deadline of its own; the time limit of the store ends it.
			if err := call(); !errors.Is(err, jobs.ErrUnavailable) {
				t.Errorf("%s while the server is %s: %v", name, what, err)
			}
		}
	}
	server.Stop(t)
	try("stopped")
	server.Continue(t)
	testutil.Eventually(t, "tasks are accepted again", func() bool {
		_, _, err := s.Enqueue(t.Context(), jobs.NewTask{ID: "between", Name: "work"})
		return err == nil
	})
	server.Kill()
	try("gone")
	server.Restart(t)
	testutil.Eventually(t, "tasks are accepted again", func() bool {
		_, _, err := s.Enqueue(t.Context(), jobs.NewTask{ID: "after", Name: "work"})
		return err == nil
	})
	for _, id := range []string{"before", "between", "after"} {
		awaitAccepted(t, s, id)
	}
}

// If the reply of a Lease is lost, the next call gets the task at once, and no lease is
// counted as lost.
func TestLeaseWithLostReply(t *testing.T) {
	server := redistest.Start(t)
	s, other := open(t, server.URL(), redisstream.Options{}), open(t, server.URL(), redisstream.Options{})
	enqueue(t, s, "first", "a")
	lease(t, s, work("w", 1), 60*time.Second) // the server has the script from now on
	server.Stop(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second) // by then it is sent
	defer cancel()
	if got, err := s.Lease(ctx, work("w", 1)); err == nil {
		t.Fatalf("leased %v from a stopped server", ids(got))
	}
	server.Continue(t) // and the script runs
	testutil.Eventually(t, "the unheard lease", func() bool {
		got, err := other.Get(t.Context(), "a")
		return err == nil && got.State == jobs.StateRunning
	})
	got := lease(t, s, work("w", 1), 60*time.Second)
	if len(got) != 1 || got[0].Attempt != 2 {
		t.Fatalf("leased %v", got)
	}
	if err := s.Finish(t.Context(), got[0], driver.Outcome{State: jobs.StateSuccess}); err != nil {
		t.Error(err)
	}
}

// A second Finish with the same outcome succeeds and changes nothing.
func TestFinishAgain(t *testing.T) {
	s := open(t, redistest.Start(t).URL(), redisstream.Options{})
	enqueue(t, s, "a")
	l := lease(t, s, work("w", 1), 60*time.Second)[0]
	o := driver.Outcome{State: jobs.StateSuccess, Result: json.RawMessage(`1`), Next: []jobs.NewTask{{ID: "next", Name: "work"}}}
	for range 2 {
		if err := s.Finish(t.Context(), l, o); err != nil {
			t.Errorf("Finish: %v", err)
		}
	}
	o.Result = json.RawMessage(`2`)
	if err := s.Finish(t.Context(), l, o); !errors.Is(err, jobs.ErrLeaseLost) {
		t.Errorf("Finish with another outcome: %v", err)
	}
	if got := lease(t, s, work("w", 5), 60*time.Second); !slices.Equal(ids(got), []string{"next"}) {
		t.Errorf("leased %v", ids(got))
	}
}

// After kill -9 and a restart the server has the same tasks, leased by the same owners.
func TestServerIsKilled(t *testing.T) {
	server := redistest.StartDurable(t)
	s := open(t, server.URL(), redisstream.Options{})
	enqueue(t, s, "held", "waiting")
	l := lease(t, s, work("w", 1), 60*time.Second)[0]
	server.Kill()
	waiting := make(chan error, 1)
	go func() { // ends with an error, or a lease
		_, err := s.Lease(t.Context(), work("w", 1))
		waiting <- err
	}()
	if err := <-waiting; !errors.Is(err, jobs.ErrUnavailable) {
		t.Errorf("Lease from a server that is gone: %v", err)
	}
	server.Restart(t)
	testutil.Eventually(t, "the outcome is recorded", func() bool {
		return s.Finish(t.Context(), l, driver.Outcome{State: jobs.StateSuccess}) == nil
	})
	if got := lease(t, s, work("w", 2), 60*time.Second); !slices.Equal(ids(got), []string{"waiting"}) {
		t.Errorf("leased %v", ids(got))
	}
}

// Calls that wait during a restart of the server are woken by later changes.
func TestWaitersAfterServerRestart(t *testing.T) {
	server := redistest.StartAOF(t)
	s, other := open(t, server.URL(), redisstream.Options{}), open(t, server.URL(), redisstream.Options{})
	enqueue(t, s, "a")
	seen := make(chan error, 1)
	go func() { // ends when the task has changed
		for {
			_, err := s.Watch(t.Context(), "a", 1)
			if !errors.Is(err, jobs.ErrUnavailable) { // otherwise it was reading at the moment of the kill
				seen <- err
				return
			}
		}
	}()
	testutil.Eventually(t, "the watcher listens", func() bool {
		n, err := server.Client().PubSubNumSub(t.Context(), "{gale:jobs}:changed:a").Result()
		return err == nil && n["{gale:jobs}:changed:a"] == 1
	})
	server.Kill()
	server.Restart(t)
	testutil.Eventually(t, "the task is leased", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := other.Lease(ctx, work("w", 1))
		return err == nil
	})
	select {
	case err := <-seen:
		if err != nil {
			t.Errorf("Watch: %v", err)
		}
	case <-time.After(60 * time.Second):
		t.Error("the watcher was not woken")
	}
}

// watch starts a Watch of the task a, and returns when its channel is subscribed.
func watch(t *testing.T, server *redistest.Server, s driver.Store) (seen <-chan error) {
	t.Helper()
	ended := make(chan error, 1)
	go func() { // ends when the task has changed
		_, err := s.Watch(t.Context(), "a", 1)
		ended <- err
	}()
	testutil.Eventually(t, "the watcher listens", func() bool {
		n, err := server.Client().PubSubNumSub(t.Context(), base+"changed:a").Result()
		return err == nil && n[base+"changed:a"] == 1
	})
	return ended
}

// Messages are lost while the connection is broken, so watchers read again when it is
// restored.
func TestWatchAfterReconnect(t *testing.T) {
	server := redistest.Start(t)
	s := open(t, server.URL(), redisstream.Options{})
	enqueue(t, s, "a")
	seen := watch(t, server, s)
	_, err := server.Client().TxPipelined(t.Context(), func(pipe redis.Pipeliner) error {
		pipe.ClientKillByFilter(t.Context(), "TYPE", "pubsub")
		pipe.HIncrBy(t.Context(), "{gale:jobs}:task:a", "version", 1)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-seen:
		if err != nil {
			t.Errorf("Watch: %v", err)
		}
	case <-time.After(60 * time.Second):
		t.Error("the watcher did not see the change")
	}
}

// A stream entry that is not a task becomes one dead letter.
func TestMalformedMessages(t *testing.T) {
	server := redistest.Start(t)
	var counters meter.Counters
	s := open(t, server.URL(), redisstream.Options{Meter: &counters})
	enqueue(t, s, "good")
	ctx, key := t.Context(), "{gale:jobs}"
	for _, values := range []map[string]any{{"junk": "x"}, {"id": "nobody"}, {"id": "half"}} {
		if err := server.Client().XAdd(ctx, &redis.XAddArgs{Stream: key + ":stream:default", Values: values}).Err(); err != nil {
			t.Fatal(err)
		}
	}
	server.Client().HSet(ctx, key+":task:half", "name", "work", "state", "queued")
	enqueue(t, s, "last")
	got := lease(t, s, work("w", 10), 60*time.Second)
	if !slices.Equal(ids(got), []string{"good", "last"}) {
		t.Errorf("leased %v", ids(got))
	}
	depth, err := s.Depth(ctx)
	if err != nil || len(depth) != 1 || depth[0].Dead != 3 || depth[0].Waiting != 0 || depth[0].Running != 2 {
		t.Errorf("Depth is %+v, %v", depth, err)
	}
	dead, err := server.Client().ZRange(ctx, key+":dead:default", 0, -1).Result()
	if err != nil || len(dead) != 3 {
		t.Fatalf("dead letters %v, %v", dead, err)
	}
	for _, id := range dead {
		letter, err := s.Get(ctx, id)
		if err != nil || letter.State != jobs.StateDead || letter.Error == "" || !json.Valid(letter.Args) || len(letter.Failures) != 1 {
			t.Errorf("dead letter %s is %+v, %v", id, letter, err)
		}
	}
	if got := lease(t, s, work("w", 10), 200*time.Millisecond); len(got) > 0 {
		t.Errorf("then leased %v", ids(got))
	}
	if all := counters.All(); len(all) != 1 || all[0].Event != meter.EventDead || all[0].Total != 3 {
		t.Errorf("counted %+v", all)
	}
}

// Tasks that a worker cannot run are read once and set aside. Later calls do not read them.
func TestUnknownTasksAreSetAside(t *testing.T) {
	server := redistest.Start(t)
	s := open(t, server.URL(), redisstream.Options{})
	const unknown = 2500
	for i := range unknown {
		if _, _, err := s.Enqueue(t.Context(), jobs.NewTask{ID: fmt.Sprint("u", i), Name: "unknown"}); err != nil {
			t.Fatal(err)
		}
	}
	enqueue(t, s, "known")
	if got := lease(t, s, work("w", 2), 60*time.Second); !slices.Equal(ids(got), []string{"known"}) {
		t.Fatalf("leased %v", ids(got))
	}
	reads := func() (n int64) {
		stats, err := server.Client().Info(t.Context(), "commandstats").Result()
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(stats) {
			if calls, ok := strings.CutPrefix(line, "cmdstat_xreadgroup:calls="); ok {
				fmt.Sscanf(calls, "%d", &n)
			}
		}
		return n
	}
	before, began := reads(), time.Now()
	if got := lease(t, s, work("w", 2), 300*time.Millisecond); len(got) > 0 {
		t.Errorf("leased %v", ids(got))
	}
	if n, took := reads()-before, time.Since(began); n > 5+2*int64(took/time.Second) {
		t.Errorf("an idle worker made %d reads within %v", n, took)
	}
	seen := map[string]bool{}
	for len(seen) < unknown {
		got := lease(t, s, work("w2", 1000, "unknown"), 60*time.Second)
		if len(got) == 0 {
			t.Fatalf("a worker that can run them leased %d of %d", len(seen), unknown)
		}
		for _, l := range got {
			seen[l.Task.ID] = true
		}
	}
}

// Tasks that a server acknowledged and then lost, for example when it was killed during
// an fsync, are enqueued again.
func TestForgetfulServer(t *testing.T) {
	server := redistest.Start(t) // loses all data when it restarts
	s := open(t, server.URL(), redisstream.Options{})
	enqueue(t, s, "a")
	if _, err := s.EnqueueGroup(t.Context(), jobs.NewGroup{ID: "g", Members: []jobs.NewTask{{ID: "m", Name: "work"}}}); err != nil {
		t.Fatal(err)
	}
	server.Kill()
	server.Restart(t)
	for _, id := range []string{"a", "m"} {
		awaitAccepted(t, s, id)
	}
	if _, err := s.Group(t.Context(), "g"); err != nil {
		t.Error(err)
	}
}
