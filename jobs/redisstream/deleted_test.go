package redisstream_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
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

const base = "{gale:jobs}:"

// both returns a request for the tasks of two queues.
func both(owner string, max int) driver.LeaseRequest {
	r := work(owner, max)
	r.Queues = []string{"a", "b"}
	return r
}

func enqueueIn(t *testing.T, s driver.Store, queue string, ids ...string) {
	t.Helper()
	for _, id := range ids {
		if _, _, err := s.Enqueue(t.Context(), jobs.NewTask{ID: id, Name: "work", Queue: queue}); err != nil {
			t.Fatal(err)
		}
	}
}

// finishAll leases and finishes tasks until n have succeeded, and returns them. Its Lease
// calls have long deadlines: if ctx ends before the reply arrives, the leases are useless.
func finishAll(t *testing.T, s driver.Store, r driver.LeaseRequest, n int) []string {
	t.Helper()
	done := map[string]bool{}
	testutil.Eventually(t, fmt.Sprint(n, " tasks end"), func() bool {
		for _, l := range lease(t, s, r, time.Minute) {
			if err := s.Finish(t.Context(), l, driver.Outcome{State: jobs.StateSuccess}); err != nil {
				t.Errorf("finish %s: %v", l.Task.ID, err)
			}
			done[l.Task.ID] = true
		}
		return len(done) >= n
	})
	return slices.Sorted(maps.Keys(done))
}

func total(c *meter.Counters, e meter.Event) (n uint64) {
	for _, one := range c.All() {
		if one.Event == e {
			n += one.Total
		}
	}
	return n
}

// If any key of a queue is deleted, its tasks still run, and those of other queues run
// meanwhile.
func TestDeletedKeys(t *testing.T) {
	for name, destroy := range map[string]func(ctx context.Context, c *redis.Client){
		"streams": func(ctx context.Context, c *redis.Client) { c.Del(ctx, base+"stream:a", base+"side:a") },
		"groups": func(ctx context.Context, c *redis.Client) {
			c.XGroupDestroy(ctx, base+"stream:a", "workers")
			c.XGroupDestroy(ctx, base+"side:a", "workers")
		},
		"stream, and a task came since": func(ctx context.Context, c *redis.Client) {
			c.Del(ctx, base+"stream:a")
			c.XAdd(ctx, &redis.XAddArgs{Stream: base + "stream:a", Values: []string{"id", "a1"}})
		},
		"a consumer": func(ctx context.Context, c *redis.Client) {
			c.XGroupDelConsumer(ctx, base+"stream:a", "workers", "w")
		},
		"all but tasks": func(ctx context.Context, c *redis.Client) {
			c.Del(ctx, base+"stream:a", base+"side:a", base+"later:a", base+"queues", base+"aside:1:a:other", base+"asides:a", base+"suspects:a")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			var counters meter.Counters
			s := open(t, server.URL(), redisstream.Options{Meter: &counters, LeaseTTL: 20 * time.Second})
			s.SetPeriod(300 * time.Millisecond)
			enqueueIn(t, s, "a", "a0", "a1", "a2", "a3")
			enqueueIn(t, s, "b", "b0", "b1")
			if _, _, err := s.Enqueue(t.Context(), jobs.NewTask{ID: "later", Name: "work", Queue: "a", RunAt: time.Now().Add(2 * time.Second)}); err != nil {
				t.Fatal(err)
			}
			held := lease(t, s, both("w", 1), 5*time.Second)[0]
			if held.Task.ID != "a0" {
				t.Fatalf("leased %s first", held.Task.ID)
			}
			destroy(t.Context(), server.Client())
			if lost, err := s.Extend(t.Context(), []*driver.Lease{held}); err != nil || len(lost) > 0 {
				t.Errorf("Extend: %v, %v", lost, err)
			}
			want := []string{"a1", "a2", "a3", "b0", "b1", "later"}
			if got := finishAll(t, s, both("w2", 3), len(want)); !slices.Equal(got, want) {
				t.Errorf("ran %v, want %v", got, want)
			}
			if err := s.Finish(t.Context(), held, driver.Outcome{State: jobs.StateSuccess}); err != nil {
				t.Errorf("finish what was leased before: %v", err)
			}
			for _, id := range append(want, "a0") {
				if got, err := s.Get(t.Context(), id); err != nil || got.State != jobs.StateSuccess || got.Attempts != 1 {
					t.Errorf("%s: %+v, %v", id, got, err)
				}
			}
			if n := total(&counters, meter.EventMissing) + total(&counters, meter.EventRedelivered); n != 0 {
				t.Errorf("%d tasks count as missing or redelivered", n)
			}
			if strings.HasPrefix(name, "stream") && total(&counters, meter.EventRestored) == 0 {
				t.Error("no task was counted as restored")
			}
		})
	}
}

// If a worker dies after its stream was deleted, another worker gets its task.
func TestDeletedWhileLeased(t *testing.T) {
	server := redistest.Start(t)
	s := open(t, server.URL(), redisstream.Options{LeaseTTL: 500 * time.Millisecond})
	enqueueIn(t, s, "a", "a0")
	lease(t, s, both("w", 1), 5*time.Second)
	server.Client().Del(t.Context(), base+"stream:a")
	if got := finishAll(t, s, both("w2", 1), 1); !slices.Equal(got, []string{"a0"}) {
		t.Errorf("ran %v", got)
	}
}

// Tasks that cannot be restored are counted and do not stop the queue.
func TestDeletedTasks(t *testing.T) {
	server := redistest.Start(t)
	var counters meter.Counters
	var log lines
	s := open(t, server.URL(), redisstream.Options{Meter: &counters, Logger: logTo(&log), LeaseTTL: 300 * time.Millisecond})
	enqueueIn(t, s, "a", "leased")
	if _, _, err := s.Enqueue(t.Context(), jobs.NewTask{ID: "later", Name: "work", Queue: "a", RunAt: time.Now().Add(time.Second)}); err != nil {
		t.Fatal(err)
	}
	held := lease(t, s, both("w", 1), 5*time.Second)
	server.Client().Del(t.Context(), base+"task:leased", base+"task:later")
	if err := s.Finish(t.Context(), held[0], driver.Outcome{State: jobs.StateSuccess}); !errors.Is(err, jobs.ErrLeaseLost) {
		t.Errorf("finish a task that is gone: %v", err)
	}
	testutil.Eventually(t, "both count as missing", func() bool {
		lease(t, s, both("w", 1), 200*time.Millisecond)
		return total(&counters, meter.EventMissing) == 2
	})
	if !strings.Contains(log.String(), "tasks are lost") {
		t.Errorf("log: %s", log.String())
	}
}

// A key of a wrong type blocks only its own queue; log and Depth report it. No task is
// accepted partially, and the queue continues once the key is deleted.
func TestWrongType(t *testing.T) {
	server := redistest.Start(t)
	var log lines
	s := open(t, server.URL(), redisstream.Options{Logger: logTo(&log)})
	s.SetPeriod(300 * time.Millisecond)
	enqueueIn(t, s, "a", "a0")
	enqueueIn(t, s, "b", "b0")
	ctx := t.Context()
	server.Client().Set(ctx, base+"stream:a", "text", 0)
	if _, _, err := s.Enqueue(ctx, jobs.NewTask{ID: "a1", Name: "work", Queue: "a"}); !errors.Is(err, jobs.ErrUnavailable) || !strings.Contains(err.Error(), "another program has written to a key") {
		t.Errorf("Enqueue: %v", err)
	}
	if _, err := s.Get(ctx, "a1"); !errors.Is(err, jobs.ErrNotFound) {
		t.Errorf("a task that was refused: %v", err)
	}
	// The next task of a task goes to that queue. The task must not end unless its next task
	// is accepted.
	enqueueIn(t, s, "b", "b1")
	for range 2 {
		l := lease(t, s, both("w", 1), 5*time.Second)[0]
		o := driver.Outcome{State: jobs.StateSuccess}
		if l.Task.ID == "b1" {
			o.Next = []jobs.NewTask{{ID: "a2", Name: "work", Queue: "a"}}
		}
		err := s.Finish(ctx, l, o)
		if l.Task.ID == "b0" && err != nil || l.Task.ID == "b1" && !errors.Is(err, jobs.ErrUnavailable) {
			t.Errorf("finish %s: %v", l.Task.ID, err)
		}
		if l.Task.ID == "b1" {
			defer func() {
				if err := s.Finish(ctx, l, o); err != nil {
					t.Errorf("finish %s: %v", l.Task.ID, err)
				}
				if _, err := s.Get(ctx, "a2"); err != nil {
					t.Error(err)
				}
			}()
		}
	}
	for range 5 {
		lease(t, s, both("w", 1), 100*time.Millisecond)
	}
	if n := strings.Count(log.String(), "queue cannot be served"); n != 1 || !strings.Contains(log.String(), "WRONGTYPE") {
		t.Errorf("the queue was logged %d times:\n%s", n, log.String())
	}
	depth, err := s.Depth(ctx)
	if err != nil || len(depth) != 2 || !strings.Contains(depth[0].Broken, "WRONGTYPE") || depth[1].Broken != "" || depth[1].Running != 1 {
		t.Errorf("Depth: %+v, %v", depth, err)
	}
	server.Client().Del(ctx, base+"stream:a")
	if got := finishAll(t, s, both("w", 5), 1); !slices.Equal(got, []string{"a0"}) {
		t.Errorf("ran %v", got)
	}
	if !strings.Contains(log.String(), "queue can be served again") {
		t.Errorf("log: %s", log.String())
	}
}

// After FLUSHALL the tasks of the last seconds are restored, and later tasks run.
func TestFlushed(t *testing.T) {
	server := redistest.Start(t)
	var log lines
	s := open(t, server.URL(), redisstream.Options{Logger: logTo(&log)})
	enqueue(t, s, "before")
	finishAll(t, s, work("w", 5), 1)
	// The journal checks twice a second how many tasks the server has accepted.
	testutil.Eventually(t, "the journal has looked", func() bool {
		stats := server.Client().InfoMap(t.Context(), "commandstats").Val()["Commandstats"]["cmdstat_get"]
		return strings.HasPrefix(stats, "calls=") && !strings.HasPrefix(stats, "calls=1,")
	})
	enqueue(t, s, "lately")
	server.Client().FlushAll(t.Context())
	testutil.Eventually(t, "it is there again", func() bool { _, err := s.Get(t.Context(), "lately"); return err == nil })
	enqueue(t, s, "after")
	got := finishAll(t, s, work("w", 5), 2)
	if !slices.Contains(got, "lately") || !slices.Contains(got, "after") {
		t.Errorf("ran %v", got)
	}
	if !strings.Contains(log.String(), "redis has lost tasks") {
		t.Errorf("log: %s", log.String())
	}
}

// Scripts are sent again to a server that no longer has them.
func TestScriptFlush(t *testing.T) {
	server := redistest.Start(t)
	s := open(t, server.URL(), redisstream.Options{})
	for i := range 3 {
		server.Client().ScriptFlush(t.Context())
		enqueue(t, s, fmt.Sprint("t", i))
		server.Client().ScriptFlush(t.Context())
		l := lease(t, s, work("w", 1), 5*time.Second)[0]
		server.Client().ScriptFlush(t.Context())
		if err := s.Finish(t.Context(), l, driver.Outcome{State: jobs.StateSuccess}); err != nil {
			t.Error(err)
		}
	}
}

// The keys of empty, unused queues and consumers without pending entries are removed;
// consumers with pending entries stay.
func TestUnusedQueues(t *testing.T) {
	server := redistest.Start(t)
	c, ctx := server.Client(), t.Context()
	s := open(t, server.URL(), redisstream.Options{})
	r := work("w", 10)
	r.Queues = nil
	for i := range 120 {
		q := fmt.Sprint("q", i)
		enqueueIn(t, s, q, "task-"+q)
		r.Queues = append(r.Queues, q)
	}
	finishAll(t, s, r, 120)
	for _, q := range []string{"held", "paused", "later"} {
		n := jobs.NewTask{ID: q, Name: "work", Queue: q}
		if q == "later" {
			n.RunAt = time.Now().Add(time.Hour)
		}
		if _, _, err := s.Enqueue(ctx, n); err != nil {
			t.Fatal(err)
		}
	}
	r.Queues = []string{"held"}
	l := lease(t, s, r, 5*time.Second)[0]
	r.Queues, r.Owner = []string{"paused"}, "gone"
	finishAll(t, s, r, 1)
	if err := s.Pause(ctx, "paused"); err != nil {
		t.Fatal(err)
	}
	s.SetPeriod(200 * time.Millisecond)
	r.Queues, r.Owner = []string{"held", "none"}, "w2"
	testutil.Eventually(t, "unused queues are gone", func() bool {
		lease(t, s, r, 50*time.Millisecond)
		return c.SCard(ctx, base+"queues").Val() == 3
	})
	for _, pattern := range []string{base + "stream:q*", base + "side:q*", base + "asides:q*"} {
		if left := c.Keys(ctx, pattern).Val(); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
	}
	testutil.Eventually(t, "consumers that are gone leave", func() bool {
		lease(t, s, r, 50*time.Millisecond)
		return len(c.XInfoConsumers(ctx, base+"stream:paused", "workers").Val()) == 0
	})
	if err := s.Finish(ctx, l, driver.Outcome{State: jobs.StateSuccess}); err != nil {
		t.Errorf("finish what was leased meanwhile: %v", err)
	}
	// A task that is enqueued while its queue is removed is not lost.
	for i := range 200 {
		enqueueIn(t, s, "flicker", fmt.Sprint("f", i))
		r.Queues = []string{"flicker"}
		if got := lease(t, s, r, 5*time.Second); len(got) != 1 || s.Finish(ctx, got[0], driver.Outcome{State: jobs.StateSuccess}) != nil {
			t.Fatalf("round %d: %v", i, got)
		}
		if i%50 == 0 {
			lease(t, s, r, 250*time.Millisecond)
		}
	}
}
