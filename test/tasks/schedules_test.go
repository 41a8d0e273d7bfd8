package tasks_test

import (
	"testing"
	"time"

	"github.com/galeserver/gale/internal/redistest"
	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/test/harness"
)

// Two servers on one Redis share a schedule; one is killed. Each moment is one
// task, and ran once.
func TestScheduleSurvivesAServer(t *testing.T) {
	t.Parallel()
	scheduleSurvives(t, 10*time.Second)
}

// scheduleSurvives shares a schedule of every second for so long.
func scheduleSurvives(t *testing.T, span time.Duration) {
	file := harness.TasksFile(t, `
		[tasks.tick]
		argv = ["true"]
		schedule = "@every 1s"`)
	broker := redistest.StartAOF(t).URL()
	flags := []string{"-procs", "1", "-workers", "1", "-broker", broker, "-tasks", file}
	first, second := harness.Start(t, t.TempDir(), flags...), harness.Start(t, t.TempDir(), flags...)
	began := time.Now()
	testutil.Eventually(t, "half of the time is over", func() bool { return time.Since(began) > span/2 })
	first.Kill()
	testutil.Eventually(t, "the time is over", func() bool { return time.Since(began) > span })
	var page struct {
		Tasks []struct {
			ID, State string
			Attempts  int
		}
	}
	testutil.Eventually(t, "all have run", func() bool {
		harness.GetJSON(t, second.URL+"/tasks?task=tick&limit=500", &page)
		for _, task := range page.Tasks {
			if task.State != "success" && task.ID < "tick-"+began.Add(span).UTC().Format("20060102T150405Z") {
				return false
			}
		}
		return true
	})
	states := map[string]int{}
	for _, task := range page.Tasks {
		if _, twice := states[task.ID]; twice {
			t.Errorf("%s is there twice", task.ID)
		}
		states[task.ID] = task.Attempts
	}
	missed, again := 0, 0
	for at := began.Truncate(time.Second); at.Before(began.Add(span)); at = at.Add(time.Second) {
		attempts, ok := states["tick-"+at.UTC().Format("20060102T150405Z")]
		if !ok {
			missed++
		} else if attempts != 1 {
			again++
		}
	}
	t.Logf("%d moments, %d missed, %d begun more than once", len(states), missed, again)
	if missed > 0 || again > 1 { // one may have been with the worker that was killed
		t.Errorf("%d moments were missed, %d begun more than once", missed, again)
	}
}
