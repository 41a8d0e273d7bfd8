package redisstream_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/galeserver/gale/internal/redistest"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
	"github.com/galeserver/gale/jobs/redisstream"
)

// An error of one outcome does not affect the other outcomes in the same script call.
func TestFailedFinishDoesNotAffectOthers(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	store, err := redisstream.Open(t.Context(), server.URL(), redisstream.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	const n = 64
	for i := range n {
		if _, _, err := store.Enqueue(t.Context(), jobs.NewTask{ID: fmt.Sprint("t", i), Name: "noop"}); err != nil {
			t.Fatal(err)
		}
	}
	leases, err := store.Lease(t.Context(), driver.LeaseRequest{Owner: "a/worker.0", Queues: []string{jobs.DefaultQueue}, Names: []string{"noop"}, Max: n})
	if err != nil || len(leases) != n {
		t.Fatalf("%d leases, %v", len(leases), err)
	}
	// The group of every eighth task is overwritten.
	redis := server.Client()
	redis.Set(t.Context(), "{gale:jobs}:group:g", "text", 0)
	for i := 0; i < n; i += 8 {
		redis.HSet(t.Context(), fmt.Sprint("{gale:jobs}:task:t", i), "group", "g", "place", "0")
	}
	errs := make(map[string]error, n)
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, l := range leases {
		all.Go(func() {
			err := store.Finish(t.Context(), l, driver.Outcome{State: jobs.StateSuccess})
			mu.Lock()
			defer mu.Unlock()
			errs[l.Task.ID] = err
		})
	}
	all.Wait()
	for i := range n {
		id := fmt.Sprint("t", i)
		err := errs[id]
		if i%8 == 0 && (!errors.Is(err, jobs.ErrUnavailable) || !strings.Contains(err.Error(), "WRONGTYPE")) {
			t.Errorf("%s: %v; want what is wrong with its group", id, err)
		}
		task, getErr := store.Get(t.Context(), id)
		if i%8 != 0 && (err != nil || getErr != nil || task.State != jobs.StateSuccess) {
			t.Errorf("%s: %v, %v, %+v", id, err, getErr, task)
		}
	}
	// Nothing was written for the failed ones, so they can finish after the repair.
	redis.Del(t.Context(), "{gale:jobs}:group:g")
	for i := 0; i < n; i += 8 {
		if err := store.Finish(t.Context(), leases[i], driver.Outcome{State: jobs.StateSuccess}); err != nil {
			t.Errorf("t%d, of a group that is repaired: %v", i, err)
		}
	}
	if pending := redis.XPending(t.Context(), "{gale:jobs}:stream:default", "workers").Val(); pending.Count != 0 {
		t.Errorf("%d entries are still pending", pending.Count)
	}
}
