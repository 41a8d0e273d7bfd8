package processes_test

import (
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/galeserver/gale/internal/redistest"
	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/test/harness"
)

// limitRedis creates the user of docs/howto/redis.md in a Redis and returns its URL.
func limitRedis(t *testing.T, redis *redistest.Server) string {
	t.Helper()
	page, err := os.ReadFile("docs/howto/redis.md")
	if err != nil {
		t.Fatal(err)
	}
	var args []any
	for word := range strings.FieldsSeq(regexp.MustCompile(`(?m)^ACL SETUSER gale .*$`).FindString(string(page))) {
		args = append(args, word)
	}
	if err := redis.Client().Do(t.Context(), args...).Err(); err != nil {
		t.Fatal(err)
	}
	return strings.Replace(redis.URL(), "//", "//gale:secret@", 1)
}

// noRestarts checks that no process has died.
func noRestarts(t *testing.T, g *harness.Server) {
	t.Helper()
	for slot, s := range g.Slots(t) {
		if s.Restarts != 0 {
			t.Errorf("%s was restarted: %+v", slot, s)
		}
	}
}

// The server works as a Redis user with the rights in the documentation. Without
// them it refuses requests that need them, logs the missing right, and does not
// restart.
func TestLimitedRedisUser(t *testing.T) {
	t.Parallel()
	redis := redistest.StartAOF(t)
	address := limitRedis(t, redis)
	user := func(rules ...any) {
		t.Helper()
		if err := redis.Client().Do(t.Context(), append([]any{"ACL", "SETUSER", "gale"}, rules...)...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	user("-@all", "resetchannels") // at first the user has no rights
	g := harness.Start(t, t.TempDir(), "-procs", "2", "-workers", "1", "-broker", address, "-redis", address)
	for path, want := range map[string]int{"/": 200, "/limited": 200, "/cached": 200, "/tasks/none": 503} {
		if code, body, err := harness.Get(g.URL + path); err != nil || code != want {
			t.Errorf("GET %s without rights: %d %s, %v", path, code, body, err)
		}
	}
	if code, _, _, header, err := postTask(g, inspectNothing); err != nil || code != http.StatusServiceUnavailable || header.Get("Retry-After") == "" {
		t.Errorf("POST /tasks without rights: %d, %v", code, err)
	}
	if body := harness.AwaitReady(t, g, http.StatusServiceUnavailable); !strings.Contains(body, "NOPERM") || !strings.Contains(body, "docs/howto/redis.md") {
		t.Errorf("/readyz: %s", body)
	}
	testutil.Eventually(t, "the log names the right and the channel", func() bool {
		log := g.Log.String()
		return strings.Contains(log, "'evalsha' command") && strings.Contains(log, "'subscribe' command")
	})
	noRestarts(t, g)

	limitRedis(t, redis) // as documented
	harness.AwaitReady(t, g, http.StatusOK)
	id := harness.StartTask(t, g, "limited")
	if task := harness.AwaitTask(t, g, id); task.State != "success" {
		t.Errorf("%+v", task)
	}
	testutil.Eventually(t, "the limit applies", func() bool {
		resp, err := http.Get(g.URL + "/limited")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusTooManyRequests || resp.Header.Get("RateLimit") != ""
	})
	testutil.Eventually(t, "channels are subscribed", func() bool { return strings.Contains(g.Log.String(), "channels: subscribed again") })
	noRestarts(t, g)
	// Only INFO and CONFIG are still not allowed, and the server does not need them.
	before := len(g.Log.String())
	if code, _, _, _, err := postTask(g, inspectNothing); err != nil || code != http.StatusAccepted {
		t.Errorf("POST /tasks: %d, %v", code, err)
	}
	if late := g.Log.String()[before:]; strings.Contains(late, "redis refuses") {
		t.Errorf("the log still reports missing rights:\n%s", late)
	}
}

// If the stream of a queue is deleted, or its key has another type, the worker still
// serves its other queues, and all accepted tasks run.
func TestDeletedStream(t *testing.T) {
	t.Parallel()
	redis := redistest.StartAOF(t)
	g := harness.Start(t, t.TempDir(), "-procs", "1", "-workers", "1", "-queue", "one,two", "-concurrency", "2", "-broker", redis.URL())
	post := func(queue string) (id string) {
		t.Helper()
		code, id, _, _, err := postTask(g, `{"task":"inspect","args":["no","such"],"queue":"`+queue+`"}`)
		if err != nil || code != http.StatusAccepted {
			t.Fatalf("POST /tasks to %s: %d, %v", queue, code, err)
		}
		return id
	}
	var ids []string
	for i := range 30 {
		ids = append(ids, post("one"), post("two"))
		if i%10 == 5 {
			redis.Client().Del(t.Context(), "{gale:jobs}:stream:one", "{gale:jobs}:side:one")
		}
	}
	for _, id := range ids {
		if task := harness.AwaitTask(t, g, id); task.State != "failed" || !strings.Contains(fmt.Sprint(task.Error), "no") {
			t.Errorf("%+v", task)
		}
	}
	harness.AwaitReady(t, g, http.StatusOK)

	redis.Client().Set(t.Context(), "{gale:jobs}:stream:one", "text", 0)
	code, _, _, _, err := postTask(g, `{"task":"inspect","args":["no","such"],"queue":"one"}`)
	if err != nil || code != http.StatusServiceUnavailable {
		t.Errorf("POST /tasks to a queue whose key has another type: %d, %v", code, err)
	}
	harness.AwaitTask(t, g, post("two"))
	testutil.Eventually(t, "readyz, metrics and log name the queue", func() bool {
		_, body, _ := harness.Get("http://" + g.Admin + "/readyz")
		_, figures, _ := harness.Get("http://" + g.Admin + "/metrics")
		return strings.Contains(body, "queue one: ") && strings.Contains(body, "WRONGTYPE") &&
			strings.Contains(figures, `gale_queue_broken{queue="one"} 1`) && strings.Contains(g.Log.String(), "queue cannot be served")
	})
	redis.Client().Del(t.Context(), "{gale:jobs}:stream:one")
	harness.AwaitTask(t, g, post("one"))
	noRestarts(t, g)
}

// Without Redis at the start, requests that do not need it are served, and the
// others as soon as Redis is available.
func TestNoRedisAtStart(t *testing.T) {
	t.Parallel()
	redis := redistest.StartAOF(t)
	redis.Kill()
	g := harness.Start(t, t.TempDir(), "-procs", "1", "-workers", "1", "-broker", redis.URL(), "-redis", redis.URL())
	if code, _, err := harness.Get(g.URL + "/"); err != nil || code != http.StatusOK {
		t.Errorf("GET /: %d, %v", code, err)
	}
	if body := harness.AwaitReady(t, g, http.StatusServiceUnavailable); !strings.Contains(body, "task store does not accept tasks") {
		t.Errorf("/readyz says %s", body)
	}
	if code, _, _, _, err := postTask(g, inspectNothing); err != nil || code != http.StatusServiceUnavailable {
		t.Errorf("POST /tasks: %d, %v", code, err)
	}
	redis.Restart(t)
	harness.AwaitReady(t, g, http.StatusOK)
	harness.AwaitTask(t, g, harness.StartTask(t, g, "late"))
	noRestarts(t, g)
}
