//go:build e2e

package clock_test

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fasthttp/websocket"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/test/harness"
)

// TestE2EClockIsSet sets the clock of a server forward and back while it works.
func TestE2EClockIsSet(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	g := m.launch(m.flags()...)
	pids := processes(t, g)
	idle := harness.Socket(t, g, "/websocket")
	if _, _, err := idle.ReadMessage(); err != nil { // the welcome
		t.Fatal(err)
	}
	m.more("tick", 1)
	for i, offset := range []time.Duration{hour, 0, week, 0} {
		name := fmt.Sprint(i)
		slow := harness.PostTask(t, g, fmt.Sprintf(`{"task": "slow", "args": [%q]}`, name))
		testutil.Eventually(t, "the task runs", func() bool { return m.lines("slow-"+name) == 1 })
		retry := m.retry(g, name)
		limited(t, g)
		runs := m.lines("limited") + 3
		for range 3 {
			harness.PostTask(t, g, `{"task": "limited"}`)
		}

		m.MustSet(t, offset)
		t.Logf("the clock is set to %v", offset)

		m.more("tick", 3) // schedules go on, and workers have looked for expired leases
		testutil.Eventually(t, "the tasks with a rate limit run", func() bool { return m.lines("limited") >= runs })
		waitForLimit(t, g)
		if got := harness.AwaitTask(t, g, retry); got.State != "success" || got.Attempts != 2 {
			t.Errorf("task that is retried: %+v", got)
		}
		m.release(name)
		if got := harness.AwaitTask(t, g, slow.ID); got.State != "success" || got.Attempts != 1 || m.lines("slow-"+name) != 1 {
			t.Errorf("task that ran meanwhile: %+v, started %d times", got, m.lines("slow-"+name))
		}
		// A new task runs, and the socket is still open.
		harness.AwaitTask(t, g, harness.PostTask(t, g, fmt.Sprintf(`{"task": "retry", "args": ["again-%s"]}`, name)).ID)
		if got := harness.SendMessage(t, idle, websocket.TextMessage, "still there"); !strings.Contains(got, "still there") {
			t.Errorf("the socket: %q", got)
		}
	}
	if now := processes(t, g); !maps.Equal(pids, now) {
		t.Errorf("processes were replaced: %v, then %v", pids, now)
	}
	if log := g.Log.String(); !strings.Contains(log, "was set") {
		t.Error("no log line says that the clock was set")
	}
	once(t, g)
}

// processes returns the PIDs of the slots.
func processes(t *testing.T, g *harness.Server) map[string]int {
	t.Helper()
	pids := map[string]int{}
	for name, s := range g.Slots(t) {
		pids[name] = s.PID
	}
	return pids
}

// limited sends requests until one gets a 429, which says to come back soon.
func limited(t *testing.T, g *harness.Server) {
	t.Helper()
	testutil.Eventually(t, "a request over the limit", func() bool {
		resp, _ := harness.Request(t, "GET", g.URL+"/limited", "")
		if after := resp.Header.Get("Retry-After"); resp.StatusCode == http.StatusTooManyRequests && !slices.Contains([]string{"1", "2", "3"}, after) {
			t.Errorf("Retry-After: %q", after)
		}
		return resp.StatusCode == http.StatusTooManyRequests
	})
}

func waitForLimit(t *testing.T, g *harness.Server) {
	t.Helper()
	testutil.Eventually(t, "a request within the limit", func() bool {
		code, _, err := harness.Get(g.URL + "/limited")
		return err == nil && code == http.StatusOK
	})
}

// once fails the test if a time of the schedule was accepted twice under one id, or a task of it
// was started twice.
func once(t *testing.T, g *harness.Server) {
	t.Helper()
	seen := map[string]bool{}
	for line := range strings.Lines(g.Log.String()) {
		_, id, _ := strings.Cut(line, " id=tick-")
		id, _, _ = strings.Cut(id, " ")
		if !strings.Contains(line, "scheduled task accepted") {
			continue
		}
		if seen[id] {
			t.Errorf("tick-%s was accepted twice", id)
		}
		seen[id] = true
	}
	var list struct{ Tasks []harness.Task }
	harness.GetJSON(t, g.URL+"/tasks?task=tick", &list)
	for _, task := range list.Tasks {
		if task.Attempts > 1 {
			t.Errorf("%s was started %d times", task.ID, task.Attempts)
		}
	}
	if len(seen) == 0 || len(list.Tasks) == 0 {
		t.Errorf("%d times were accepted, %d tasks are listed", len(seen), len(list.Tasks))
	}
}

// TestE2EClockIsSetBackWhileDown sets the clock back while nothing runs. The lease of the task that
// ran ends nevertheless, after the time of a lease and not after an hour.
func TestE2EClockIsSetBackWhileDown(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.MustSet(t, hour)
	g := m.launch(m.flags()...)
	slow := harness.PostTask(t, g, `{"task": "slow", "args": ["x"]}`)
	testutil.Eventually(t, "the task runs", func() bool { return m.lines("slow-x") == 1 })
	g.Kill()
	m.MustSet(t, 0)
	g = m.launch(m.flags()...)
	testutil.Eventually(t, "the task runs again", func() bool { return m.lines("slow-x") == 2 })
	m.release("x")
	if got := harness.AwaitTask(t, g, slow.ID); got.State != "success" {
		t.Errorf("%+v", got)
	}
}

// TestE2EClockAndUploads sets the clock forward by mistake. An unfinished upload is not removed, and
// goes on when the clock is right again.
func TestE2EClockAndUploads(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	g := m.launch("-procs", "1", "-upload-expiry", "1m")
	r, err := harness.TusDo(g, "POST", "/tus/", nil, "Upload-Length: 10", harness.TusMetadata("filename", "a.wav", "directory", "d"))
	if err != nil || r.Status != http.StatusCreated {
		t.Fatalf("%+v, %v", r, err)
	}
	path := r.Header.Get("Location")
	if at := strings.Index(path, "/tus/"); at >= 0 {
		path = path[at:]
	}
	m.MustSet(t, week)
	testutil.Eventually(t, "a sweep", func() bool { return strings.Contains(g.Log.String(), "unfinished uploads do not expire") })
	m.MustSet(t, 0)
	r, err = harness.TusDo(g, "PATCH", path, strings.NewReader("0123456789"), "Upload-Offset: 0", harness.OffsetStream)
	if err != nil || r.Status != http.StatusNoContent {
		t.Errorf("%+v, %v", r, err)
	}
}
