//go:build e2e

package chaos_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/galeserver/gale/internal/redistest"
	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/test/harness"
)

// The long run: 2,000 tasks of 20 ms, and the kills among them.
const (
	singles = 1400 // single tasks
	chains  = 60   // chains of three tasks
	groups  = 20   // groups of ten
	chords  = 20   // groups of ten with a callback
	rate    = 100  // single tasks a second
	total   = singles + 3*chains + 10*groups + 11*chords

	workerKills, serveKills, redisKills = 10, 3, 2
)

// TestE2EChaos kills workers, serve children and Redis under load. Every task
// that was accepted must end in success, and few may be repeated.
func TestE2EChaos(t *testing.T) {
	onEachStore(t, func(t *testing.T, flags []string, redis *redistest.Server) {
		runs := filepath.Join(t.TempDir(), "runs")
		flags = append([]string{"serve", "-procs", "3", "-workers", "2", "-concurrency", "4", "-runs", runs}, flags...)
		r := &chaos{t: t, redis: redis, server: start(t, t.TempDir(), flags...), kills: map[string]int{}, killed: map[string]int{}}
		r.load = newLoad(t, r.server.URL)
		began := time.Now()
		r.load.start()
		r.killAll()
		r.load.wait()
		accepted := time.Since(began)
		r.checkTasks()
		r.checkRestarts()
		repeats := r.checkRuns(runs)
		t.Logf("\n%-28s %6d\n%-28s %6d\n%-28s %6d (%.2f %%)\n%-28s %v\n%-28s %6v\n%-28s %6v",
			"accepted", len(r.load.accepted), "requests tried again", r.load.refused,
			"attempts that were repeats", repeats, 100*float64(repeats)/total, "killed", r.kills,
			"all accepted after", accepted.Round(100*time.Millisecond), "all ended after", time.Since(began).Round(100*time.Millisecond))
	})
}

// chaos is one run on one store.
type chaos struct {
	t      *testing.T
	server *harness.Server
	redis  *redistest.Server // nil on SQLite
	load   *load
	kills  map[string]int // number of kills by role
	killed map[string]int // process that was killed last, by slot
}

// killAll kills while tasks are being accepted, each role at even distances.
func (r *chaos) killAll() {
	type step struct {
		at   int // number of accepted tasks
		role string
		kill func()
	}
	var plan []step
	for i := range workerKills {
		slot := fmt.Sprint("worker.", i%2)
		plan = append(plan, step{(2*i + 1) * total / (2*workerKills + 2), "worker", func() { r.killSlot(slot) }})
	}
	for i := range serveKills {
		slot := fmt.Sprint("serve.", i)
		plan = append(plan, step{(i + 1) * total / (serveKills + 2), "serve", func() { r.killSlot(slot) }})
	}
	for i := range redisKills {
		if r.redis != nil {
			plan = append(plan, step{(2*i + 1) * total / (2*redisKills + 1), "redis", func() { r.redis.Kill(); r.redis.Restart(r.t) }})
		}
	}
	testutil.Eventually(r.t, "every kill is done", func() bool {
		var left []step
		for _, s := range plan {
			if r.load.progress() < s.at {
				left = append(left, s)
				continue
			}
			s.kill()
			r.kills[s.role]++
		}
		plan = left
		return len(plan) == 0
	})
}

// killSlot kills the process of a slot, after the master has replaced the one
// that was killed before.
func (r *chaos) killSlot(slot string) {
	pid := 0
	testutil.Eventually(r.t, slot+" is live", func() bool {
		s := r.server.Slots(r.t)[slot]
		pid = s.PID
		return s.State == "live" && pid != r.killed[slot]
	})
	kill(r.t, pid)
	r.killed[slot] = pid
}

// checkTasks waits for the end of every accepted task.
func (r *chaos) checkTasks() {
	for _, id := range r.load.accepted {
		if task := harness.AwaitTask(r.t, r.server, id); task.State != "success" {
			r.t.Errorf("%+v", task)
		}
	}
	for _, id := range r.load.callbacks {
		if task := harness.AwaitTask(r.t, r.server, id); string(task.Result) != "10" {
			r.t.Errorf("chord %s has %s of 10 results", id, task.Result)
		}
	}
	if len(r.load.accepted) != total || len(r.load.callbacks) != chords {
		r.t.Errorf("%d tasks and %d chords accepted, want %d and %d", len(r.load.accepted), len(r.load.callbacks), total, chords)
	}
}

// checkRestarts compares the restarts of the slots with the kills: no process may
// have ended for another reason.
func (r *chaos) checkRestarts() {
	restarts := map[string]int{}
	testutil.Eventually(r.t, "every slot is live", func() bool {
		clear(restarts)
		live := true
		for _, s := range r.server.Slots(r.t) {
			restarts[s.Role] += s.Restarts
			live = live && s.State == "live"
		}
		return live
	})
	if restarts["worker"] != workerKills || restarts["serve"] != serveKills || restarts["store"] != 0 {
		r.t.Errorf("restarts are %v, want one for each kill of %v", restarts, r.kills)
	}
}

// checkRuns counts the attempts: every task has run, and less than 2 % of them
// are repeats.
func (r *chaos) checkRuns(path string) (repeats int) {
	text, err := os.ReadFile(path)
	if err != nil {
		r.t.Fatal(err)
	}
	tasks, attempts := map[string]bool{}, 0
	for line := range strings.Lines(string(text)) {
		tasks[line] = true
		attempts++
	}
	repeats = attempts - len(tasks)
	if len(tasks) != total {
		r.t.Errorf("%d tasks have run, want %d", len(tasks), total)
	}
	if repeats*50 >= total {
		r.t.Errorf("%d repeats are 2 %% or more", repeats)
	}
	return repeats
}
