package chaos

import (
	"testing"
	"time"

	"github.com/galeserver/gale/internal/redistest"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
)

// awaitRunning waits until n tasks are running.
func awaitRunning(t *testing.T, store driver.Store, n int) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); <-tick.C {
		depth, err := store.Depth(t.Context())
		if err == nil && len(depth) == 1 && depth[0].Running >= n {
			return
		}
	}
	t.Fatalf("no %d tasks run", n)
}

// A worker is killed while it runs the first ten of twenty tasks. Its successor, or another
// worker, finishes all of them.
func TestKilledWorker(t *testing.T) {
	const ttl = 4 * time.Second
	for _, c := range []struct {
		name  string
		gone  bool
		limit time.Duration // after the kill: what was left, and what is allowed
	}{
		{"slot respawns", false, 4*time.Second + 10*time.Second},
		{"machine is gone", true, 4*time.Second + ttl + 10*time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			onEachStore(t, ttl, func(t *testing.T, s settings, store driver.Store, _ *redistest.Server) {
				t.Parallel()
				ids := naps(t, store, "t", 20, 2000)
				s.Owner, s.Concurrency = "here/worker.0", 10
				w := spawn(t, s, nil)
				awaitRunning(t, store, 10)
				<-time.After(time.Second) // midway
				killed := time.Now()
				if c.gone {
					w.retire()
					s.Owner = "there/worker.0"
					spawn(t, s, nil)
				} else {
					w.kill()
				}
				again := 0
				for id, task := range awaitFinal(t, store, ids, c.limit) {
					if task.State != jobs.StateSuccess {
						t.Errorf("%s: %+v", id, task)
					}
					again += task.Attempts - 1
				}
				t.Logf("20 of 20, the last %v after the kill; %d ran again", time.Since(killed).Round(10*time.Millisecond), again)
			})
		})
	}
}

// A task that has ended its worker five times becomes a dead letter. The other tasks of these
// workers do not, and are only delayed by the restarts.
func TestPoison(t *testing.T) {
	onEachStore(t, 4*time.Second, func(t *testing.T, s settings, store driver.Store, _ *redistest.Server) {
		t.Parallel()
		slow := naps(t, store, "slow", 7, 500)
		if _, _, err := store.Enqueue(t.Context(), jobs.NewTask{ID: "poison", Name: "crash"}); err != nil {
			t.Fatal(err)
		}
		quick := naps(t, store, "quick", 40, 20)
		s.Owner, s.Concurrency = "here/worker.0", 8
		began := time.Now()
		w := spawn(t, s, nil)
		for id, task := range awaitFinal(t, store, append(slow, quick...), 30*time.Second) {
			if task.State != jobs.StateSuccess {
				t.Errorf("%s, which shared a worker with the poison task: %+v", id, task)
			}
		}
		took := time.Since(began)
		poison := awaitFinal(t, store, []string{"poison"}, 20*time.Second)["poison"]
		if poison.State != jobs.StateDead || poison.Attempts != driver.DefaultMaxLost || poison.Error != driver.LostReason(driver.DefaultMaxLost) {
			t.Errorf("poison: %+v", poison)
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		t.Logf("47 other tasks ended within %v, the poison task after %d workers", took.Round(10*time.Millisecond), w.starts-1)
		if w.starts-1 != driver.DefaultMaxLost {
			t.Errorf("%d workers died, want %d", w.starts-1, driver.DefaultMaxLost)
		}
	})
}
