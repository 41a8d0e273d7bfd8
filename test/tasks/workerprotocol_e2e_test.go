//go:build e2e

package tasks_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/galeserver/gale/test/harness"
)

// cutCall sends a request and closes the connection before the response has arrived, or
// after its first byte.
func cutCall(t *testing.T, g *harness.Server, path string, body any) {
	t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", strings.TrimPrefix(g.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := fmt.Fprintf(conn, "POST /workers/%s HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", path, len(text), text); err != nil {
		t.Fatal(err)
	}
	if rand.N(2) == 0 {
		if _, err := conn.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
}

// 500 responses to lease and finish are cut off on the way, with two serving processes. No
// task is lost, and no attempt counts as failed or lost.
func TestE2EWorkerResponsesCut(t *testing.T) {
	harness.OnTaskStores(t, func(t *testing.T, where []string) {
		g := harness.Start(t, t.TempDir(), append([]string{"-procs", "2", "-workers", "0"}, where...)...)
		session := announceWorker(t, g, "work")
		const tasks, batch = 250, 5
		ids := make([]string, tasks)
		for i := range ids {
			ids[i] = harness.PostTask(t, g, fmt.Sprintf(`{"id":"t%d","task":"work"}`, i)).ID
		}
		for cut, done := 0, 0; done < tasks; {
			for range 5 {
				cutCall(t, g, "lease", map[string]any{"session": session, "max": batch, "wait": 1})
				cut++
			}
			leases := leaseTasks(t, g, session, batch)
			var entries []map[string]any
			for _, l := range leases {
				if l.Retries != 0 {
					t.Fatalf("%s has %d retries", l.Task.ID, l.Retries)
				}
				entries = append(entries, map[string]any{"lease": l.Lease, "state": "success"})
			}
			for range 5 {
				cutCall(t, g, "finish", entries)
				cut++
			}
			var results []workerResult
			workerCall(t, g, "finish", entries, &results)
			for _, r := range results {
				switch {
				case r.Code == http.StatusOK && r.State == "success":
					done++
				case r.Code != http.StatusConflict:
					t.Fatalf("finish: %+v", r)
				} // else a lease call that was cut off was executed late, and the next one returns the task again
			}
			if done == tasks && cut < 500 {
				t.Errorf("only %d responses were cut", cut)
			}
		}
		for _, id := range ids {
			var task struct {
				State    string
				Failures []any
			}
			if harness.GetJSON(t, g.URL+"/tasks/"+id, &task); task.State != "success" || len(task.Failures) > 0 {
				t.Errorf("%s: %+v", id, task)
			}
		}
		for line := range strings.Lines(metricsOf(t, g)) {
			for _, event := range []string{"redelivered", "failed", "retried", "dead"} {
				if strings.HasPrefix(line, `gale_task_events_total{event="`+event) && !strings.HasSuffix(strings.TrimSpace(line), " 0") {
					t.Error(line)
				}
			}
		}
	})
}

func metricsOf(t *testing.T, g *harness.Server) string {
	t.Helper()
	_, body, err := harness.Get("http://" + g.Admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	return body
}
