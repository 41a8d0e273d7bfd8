package processes_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/galeserver/gale/internal/redistest"
	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/test/harness"
)

// postTask posts a task and returns the status, the id of the task, the time that
// the request took, and the header of the response.
func postTask(g *harness.Server, body string) (code int, id string, took time.Duration, header http.Header, err error) {
	began := time.Now()
	client := http.Client{Timeout: time.Minute}
	resp, err := client.Post(g.URL+"/tasks", "application/json", bytes.NewBufferString(body))
	if err != nil {
		return 0, "", time.Since(began), nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	var task harness.Task
	_ = json.Unmarshal(text, &task)
	return resp.StatusCode, task.ID, time.Since(began), resp.Header, err
}

const inspectNothing = `{"task":"inspect","args":["no","such"]}`

// A worker that shares only Redis and the folder of uploads with a server runs the tasks that
// the server accepts. A running task survives a restart of Redis.
func TestTasksOverRedis(t *testing.T) {
	t.Parallel()
	redis := redistest.StartDurable(t)
	files := filepath.Join(t.TempDir(), "uploads")
	g := harness.Start(t, t.TempDir(), "-procs", "1", "-workers", "0", "-broker", redis.URL(), "-upload-dir", files)
	w := harness.Start(t, t.TempDir(), "worker", "-procs", "1", "-broker", redis.URL(), "-upload-dir", files)
	id := harness.StartTask(t, g, "far")
	testutil.Eventually(t, "the worker has started the task", func() bool { // Redis knows it earlier, from the lease call
		return strings.Contains(w.Log.String(), "task started")
	})
	redis.Kill()
	redis.Restart(t)
	_ = syscall.Kill(w.Cmd.Process.Pid, syscall.SIGTERM) // the grace period is 30 s, the task takes 5 s
	if task := harness.AwaitTask(t, g, id); task.State != "success" || string(task.Result) != `"Processed far"` || task.Attempts != 1 {
		t.Errorf("%+v", task)
	}
	if err := w.Wait(); err != nil {
		t.Error(err)
	}
}

// While Redis is stopped or killed, POST /tasks gets 503 and other requests are
// served. When Redis is back, tasks are accepted and run. The time until the 503 is
// printed and not checked: it should be below a second on a quiet machine.
func TestRedisUnavailable(t *testing.T) {
	t.Parallel()
	redis := redistest.StartAOF(t)
	g := harness.Start(t, t.TempDir(), "-procs", "2", "-workers", "1", "-broker", redis.URL())
	for _, outage := range []struct {
		how        string
		begin, end func()
	}{
		{"stopped", func() { redis.Stop(t) }, func() { redis.Continue(t) }},
		{"killed", redis.Kill, func() { redis.Restart(t) }},
	} {
		outage.begin()
		var slowest time.Duration
		for range 5 {
			code, _, took, header, err := postTask(g, inspectNothing)
			slowest = max(slowest, took)
			if err != nil || code != http.StatusServiceUnavailable || header.Get("Retry-After") == "" {
				t.Errorf("redis is %s: status %d after %v, Retry-After %q, %v", outage.how, code, took, header.Get("Retry-After"), err)
			}
			if code, body, err := harness.Get(g.URL + "/"); err != nil || code != http.StatusOK || !strings.HasPrefix(body, "Hello") {
				t.Errorf("GET / while redis is %s: %d, %v", outage.how, code, err)
			}
		}
		outage.end()
		back := time.Now()
		var id string
		testutil.Eventually(t, "tasks are accepted again", func() bool {
			code, fresh, _, _, err := postTask(g, inspectNothing)
			id = fresh
			return err == nil && code == http.StatusAccepted
		})
		accepted := time.Since(back)
		task := harness.AwaitTask(t, g, id)
		t.Logf("redis %s: 503 within %v; when it is back a task is accepted after %v and has run after %v",
			outage.how, slowest.Round(time.Millisecond), accepted.Round(time.Millisecond), time.Since(back).Round(time.Millisecond))
		if task.State != "failed" || !strings.Contains(fmt.Sprint(task.Error), "no") {
			t.Errorf("%+v", task)
		}
	}
	for slot, s := range g.Slots(t) {
		if s.Restarts != 0 {
			t.Errorf("%s was restarted: %+v", slot, s)
		}
	}
}
