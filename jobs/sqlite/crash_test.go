package sqlite_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/sqlite"
)

// kills is the number of kills in each of these tests.
const kills = 10

// runFor waits until the process is ready, kills it after a random time, and returns its
// output.
func runFor(t *testing.T, p *process) (said []string) {
	t.Helper()
	p.await(t)
	end := time.After(rand.N(100 * time.Millisecond))
	for {
		select {
		case line := <-p.lines:
			said = append(said, line)
		case <-end:
			return append(said, p.kill()...)
		}
	}
}

func TestAcceptedTasksSurviveKill(t *testing.T) {
	path := temp(t)
	var accepted []string
	for i := 0; i < kills || len(accepted) == 0 && i < 100*kills; i++ {
		accepted = append(accepted, runFor(t, start(t, "enqueue", path))...)
	}
	wantSound(t, path)
	if len(accepted) == 0 {
		t.Fatal("nothing was accepted between the kills")
	}
	s := open(t, path, sqlite.Options{})
	for _, id := range accepted {
		if got, err := s.Get(t.Context(), id); err != nil || got.State != jobs.StateQueued {
			t.Errorf("accepted task %s: %v, %v", id, got, err)
		}
	}
	t.Logf("%d tasks were accepted around %d kills", len(accepted), kills)
}

func TestTasksOutliveTheirWorkers(t *testing.T) {
	path := temp(t)
	s := open(t, path, workOptions)
	const tasks = 3000
	fill(t, s, tasks)
	finished := map[string]int{}
	for range kills {
		for _, id := range runFor(t, start(t, "work", path)) {
			finished[id]++
		}
	}
	byOthers := len(finished)
	for left := 1; left > 0; {
		if err := raw(t, path).QueryRow(`SELECT count(*) FROM tasks WHERE name = 'work' AND finished IS NULL`).Scan(&left); err != nil {
			t.Fatal(err)
		}
		if left == 0 {
			break
		}
		leases, err := s.Lease(t.Context(), work("last", 64))
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range leases {
			if err := finishWithNext(s, l); err != nil {
				t.Fatal(err)
			}
			finished[l.Task.ID]++
		}
	}
	for id, n := range finished {
		if n > 1 {
			t.Errorf("task %s was finished %d times", id, n)
		}
	}
	wantSound(t, path)
	// Each finished attempt enqueued a next task in the same transaction.
	var succeeded, next, again int
	err := raw(t, path).QueryRow(`SELECT
		count(*) FILTER (WHERE state = 'success'), count(*) FILTER (WHERE name = 'next'), count(*) FILTER (WHERE attempts > 1)
		FROM tasks`).Scan(&succeeded, &next, &again)
	if err != nil || succeeded != tasks || next != tasks {
		t.Errorf("%d succeeded with %d next tasks, want %d of each; %v", succeeded, next, tasks, err)
	}
	t.Logf("%d were finished by %d killed workers, %d needed more than one attempt", byOthers, kills, again)
}
