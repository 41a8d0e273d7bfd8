package tasks_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/galeserver/gale/internal/redistest"
	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/test/harness"
)

// Two servers on one Redis share a schedule, and one of them is killed. Each scheduled
// time has one task, which runs once.
func TestScheduleSurvivesServer(t *testing.T) {
	t.Parallel()
	scheduleSurvives(t, 10*time.Second)
}

// scheduleSurvives runs a schedule of every second for the time span.
func scheduleSurvives(t *testing.T, span time.Duration) {
	file := harness.TasksFile(t, `
		[tasks.tick]
		argv = ["true"]
		schedule = "@every 1s"`)
	broker := redistest.StartAOF(t).URL()
	flags := []string{"-procs", "1", "-workers", "1", "-broker", broker, "-tasks", file, "-upload-dir", filepath.Join(t.TempDir(), "uploads")}
	first, second := harness.Start(t, t.TempDir(), flags...), harness.Start(t, t.TempDir(), flags...)
	began := time.Now()
	testutil.Eventually(t, "half of the time has passed", func() bool { return time.Since(began) > span/2 })
	first.Kill()
	testutil.Eventually(t, "the time has passed", func() bool { return time.Since(began) > span })
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
			t.Errorf("%s exists twice", task.ID)
		}
		states[task.ID] = task.Attempts
	}
	missed, repeated := 0, 0
	for at := began.Truncate(time.Second); at.Before(began.Add(span)); at = at.Add(time.Second) {
		attempts, ok := states["tick-"+at.UTC().Format("20060102T150405Z")]
		if !ok {
			missed++
		} else if attempts != 1 {
			repeated++
		}
	}
	t.Logf("%d scheduled times, %d missed, %d tasks repeated", len(states), missed, repeated)
	if missed > 0 || repeated > 1 { // the killed worker may have run one
		t.Errorf("%d scheduled times were missed, %d tasks repeated", missed, repeated)
	}
}
