package redisstream_test

import (
	"context"
	"testing"
	"time"

	"github.com/galeserver/gale/internal/redistest"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
	"github.com/galeserver/gale/jobs/redisstream"
)

// leaseWork leases the only due task.
func leaseWork(t *testing.T, s *redisstream.Store, id string) *driver.Lease {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	l, err := s.Lease(ctx, driver.LeaseRequest{Owner: "w", Queues: []string{"default"}, Names: []string{"work"}, Max: 1})
	if err != nil || l[0].Task.ID != id {
		t.Fatalf("leased %+v, %v; want %s", l, err, id)
	}
	return l[0]
}

func succeedWork(t *testing.T, s *redisstream.Store, id string, next ...jobs.NewTask) {
	t.Helper()
	if err := s.Finish(t.Context(), leaseWork(t, s, id), driver.Outcome{State: jobs.StateSuccess, Next: next}); err != nil {
		t.Fatal(err)
	}
}

// Tasks of a version without reservations continue. The test deletes the keys and fields
// that this version did not write.
func TestWorkflowsOfOlderVersions(t *testing.T) {
	server := redistest.Start(t)
	s := open(t, server.URL(), redisstream.Options{})
	const key = "{gale:jobs}:"
	forget := func(hash string) {
		t.Helper()
		fields := []string{"workflow", "followers", "digest", "after_callback"}
		if err := server.Client().HDel(t.Context(), key+hash, fields...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	accept := func(n jobs.NewTask) {
		t.Helper()
		n.Name = "work"
		if _, created, err := s.Enqueue(t.Context(), n); err != nil || !created {
			t.Fatalf("Enqueue = %v, %v", created, err)
		}
	}
	message := []byte(`{"UUID":"old-1","OnSuccess":[{"UUID":"old-2","Name":"work","OnSuccess":[{"UUID":"old-3","Name":"work"}]}]}`)
	accept(jobs.NewTask{ID: "old-1", Signature: message})
	accept(jobs.NewTask{ID: "gone-1", Signature: []byte(`{"UUID":"gone-1","OnSuccess":[{"UUID":"gone-2","Name":"work"}]}`)})
	g := jobs.NewGroup{ID: "g", Members: []jobs.NewTask{{ID: "m", Name: "work"}}, Callback: &jobs.NewTask{ID: "c", Name: "work"}}
	if _, err := s.EnqueueGroup(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	forget("group:g")
	if err := server.Client().Del(t.Context(), key+"reserved:c").Err(); err != nil {
		t.Fatal(err)
	}

	succeedWork(t, s, "old-1", jobs.NewTask{ID: "old-2", Name: "work", Followers: []string{"old-3"}})
	if err := s.CancelWorkflow(t.Context(), "gone-1"); err != nil {
		t.Errorf("cancel an old chain: %v", err)
	}
	if w, err := (&jobs.Client{Store: s}).Workflow(t.Context(), "gone-1"); err != nil || w.State != jobs.StateCancelled {
		t.Errorf("a cancelled old chain is %+v, %v", w, err)
	}
	succeedWork(t, s, "m")
	succeedWork(t, s, "old-2", jobs.NewTask{ID: "old-3", Name: "work"})
	succeedWork(t, s, "c")
	succeedWork(t, s, "old-3")
	for _, id := range []string{"old-1", "g"} {
		if w, err := (&jobs.Client{Store: s}).Workflow(t.Context(), id); err != nil || w.State != jobs.StateSuccess {
			t.Errorf("workflow %s is %+v, %v", id, w, err)
		}
	}
	again := jobs.NewTask{ID: "old-1", Name: "work", Digest: "any", Followers: []string{"drawn"}}
	if _, created, err := s.Enqueue(t.Context(), again); err != nil || created {
		t.Errorf("the same chain: %v, %v", created, err)
	}

	// During a rolling restart, a process of the older version accepts a task whose id a
	// new chain has reserved, and does not remove the reservation.
	accept(jobs.NewTask{ID: "new-1", Followers: []string{"new-2", "new-3"}})
	value, err := server.Client().Get(t.Context(), key+"reserved:new-2").Result()
	if err != nil {
		t.Fatal(err)
	}
	succeedWork(t, s, "new-1", jobs.NewTask{ID: "new-2", Name: "work", Followers: []string{"new-3"}})
	forget("task:new-2")
	for _, id := range []string{"new-2", "new-3"} {
		if err := server.Client().Set(t.Context(), key+"reserved:"+id, value, 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	succeedWork(t, s, "new-2", jobs.NewTask{ID: "new-3", Name: "work"})
	l := leaseWork(t, s, "new-3")
	if err := s.CancelWorkflow(t.Context(), "new-1"); err != nil {
		t.Error(err)
	}
	if lost, err := s.Held(t.Context(), []*driver.Lease{l}); err != nil || len(lost) != 1 {
		t.Errorf("Held = %v, %v", lost, err)
	}
}

// Every key is removed together with its task.
func TestReservationsExpire(t *testing.T) {
	server := redistest.Start(t)
	s := open(t, server.URL(), redisstream.Options{Keep: 50 * time.Millisecond})
	chain := func(id string) jobs.NewTask {
		return jobs.NewTask{ID: id, Name: "work", Followers: []string{id + "-2", id + "-3"}}
	}
	for _, id := range []string{"cancelled", "failed", "aborted"} {
		if _, _, err := s.Enqueue(t.Context(), chain(id)); err != nil {
			t.Fatal(err)
		}
		var err error
		switch id {
		case "cancelled":
			_, err = s.Cancel(t.Context(), id)
		case "failed":
			err = s.Finish(t.Context(), leaseWork(t, s, id), driver.Outcome{State: jobs.StateFailed, Error: "x"})
		case "aborted":
			err = s.CancelWorkflow(t.Context(), id)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(30 * time.Second); ; <-tick.C {
		keys, err := server.Client().Keys(t.Context(), "*reserved:*").Result()
		if err == nil && len(keys) == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%v are left, %v", keys, err)
		}
	}
}
