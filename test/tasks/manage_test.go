package tasks_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/test/harness"
)

// A running task is cancelled by a process that knows nothing but the store,
// and is tried again by another.
func TestManageTasks(t *testing.T) {
	t.Parallel()
	for name, flags := range harness.TaskStores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, where := t.TempDir(), flags(t)
			g := harness.Start(t, dir, append([]string{"-procs", "2", "-workers", "1"}, where...)...)
			id := harness.StartTask(t, g, "x")
			harness.AwaitRunning(t, g, id)
			began := time.Now()
			var shown harness.Task
			out := harness.Command(t, dir, append([]string{"tasks", "cancel", id, "-json"}, where...)...)
			if err := json.Unmarshal([]byte(out), &shown); err != nil || shown.State != "cancelled" {
				t.Fatalf("%s, %v", out, err)
			}
			testutil.Eventually(t, "the worker says so", func() bool { return strings.Contains(g.Log.String(), "task cancelled") })
			t.Logf("cancelled and given up within %v", time.Since(began).Round(time.Millisecond))
			if code := harness.Send(t, "POST", g.URL+"/tasks/"+id+"/retry", "", &shown); code != http.StatusOK || shown.State != "queued" {
				t.Fatalf("%d, %+v", code, shown)
			}
			if task := harness.AwaitTask(t, g, id); task.State != "success" || task.Attempts != 2 {
				t.Errorf("%+v", task)
			}
			list := harness.Command(t, dir, append([]string{"tasks", "list", "-state", "success"}, where...)...)
			if !strings.Contains(list, id) {
				t.Errorf("the list lacks %s:\n%s", id, list)
			}
		})
	}
}
