package processes_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/galeserver/gale/internal/redistest"
	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/test/harness"
)

// postTask posts a task and returns the status, its id, and how long it took.
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

// A task that one server accepts is run by a worker that shares nothing with it
// but Redis, and survives the end of that.
func TestTasksOverRedis(t *testing.T) {
	t.Parallel()
	redis := redistest.StartDurable(t)
	g := harness.Start(t, t.TempDir(), "-procs", "1", "-workers", "0", "-broker", redis.URL())
	w := harness.Start(t, t.TempDir(), "worker", "-procs", "1", "-broker", redis.URL())
	id := harness.StartTask(t, g, "far")
	harness.AwaitRunning(t, g, id)
	redis.Kill()
	redis.Restart(t)
	_ = syscall.Kill(w.Cmd.Process.Pid, syscall.SIGTERM) // it has 30 s for what it runs
	if task := harness.AwaitTask(t, g, id); task.State != "success" || string(task.Result) != `"Processed far"` || task.Attempts != 1 {
		t.Errorf("%+v", task)
	}
	if err := w.Wait(); err != nil {
		t.Error(err)
	}
}

// While Redis is stopped or gone, tasks are refused and the rest of the server does
// not notice; when it is back all is as before. How long the refusal takes is
// printed: the promise is a second, to which a busy machine adds.
func TestRedisAway(t *testing.T) {
	t.Parallel()
	redis := redistest.StartAOF(t)
	g := harness.Start(t, t.TempDir(), "-procs", "2", "-workers", "1", "-broker", redis.URL())
	for _, away := range []struct {
		how        string
		begin, end func()
	}{
		{"stopped", func() { redis.Stop(t) }, func() { redis.Continue(t) }},
		{"gone", redis.Kill, func() { redis.Restart(t) }},
	} {
		away.begin()
		var slowest time.Duration
		for range 5 {
			code, _, took, header, err := postTask(g, inspectNothing)
			slowest = max(slowest, took)
			if err != nil || code != http.StatusServiceUnavailable || header.Get("Retry-After") == "" {
				t.Errorf("redis is %s: status %d after %v, Retry-After %q, %v", away.how, code, took, header.Get("Retry-After"), err)
			}
			if code, body, err := harness.Get(g.URL + "/"); err != nil || code != http.StatusOK || !strings.HasPrefix(body, "Hello") {
				t.Errorf("GET / while redis is %s: %d, %v", away.how, code, err)
			}
		}
		away.end()
		back := time.Now()
		var id string
		testutil.Eventually(t, "tasks are accepted again", func() bool {
			code, fresh, _, _, err := postTask(g, inspectNothing)
			id = fresh
			return err == nil && code == http.StatusAccepted
		})
		accepted := time.Since(back)
		task := harness.AwaitTask(t, g, id)
		t.Logf("redis %s: refused within %v; back: accepted after %v, run after %v",
			away.how, slowest.Round(time.Millisecond), accepted.Round(time.Millisecond), time.Since(back).Round(time.Millisecond))
		if task.State != "failed" || !strings.Contains(fmt.Sprint(task.Error), "no") {
			t.Errorf("%+v", task)
		}
	}
	for slot, s := range g.Slots(t) {
		if s.Restarts != 0 {
			t.Errorf("%s was started again: %+v", slot, s)
		}
	}
}
