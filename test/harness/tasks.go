package harness

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/galeserver/gale/internal/testutil"
)

// Task is a task object; its result is any JSON.
type Task struct {
	ID, State, Error string
	Attempts         int
	Result           json.RawMessage
}

// StartTask starts long_running_task and returns its id.
func StartTask(t *testing.T, g *Server, data string) string {
	t.Helper()
	_, body, err := Get(g.URL + "/start-task?data=" + data)
	id, ok := strings.CutPrefix(body, "Task started: ")
	if err != nil || !ok {
		t.Fatalf("start-task: %q, %v", body, err)
	}
	return id
}

// AwaitTask waits until the task has ended.
func AwaitTask(t *testing.T, g *Server, id string) (task Task) {
	t.Helper()
	testutil.Eventually(t, "task "+id+" ends", func() bool {
		if code, _, err := Get(g.URL + "/tasks/" + id); err == nil && code == http.StatusServiceUnavailable {
			return false // its store is away, or just back
		}
		GetJSON(t, g.URL+"/tasks/"+id+"?wait=5s", &task)
		return task.State == "success" || task.State == "failed" || task.State == "dead"
	})
	return task
}

// AwaitRunning waits until a worker runs the task.
func AwaitRunning(t *testing.T, g *Server, id string) {
	t.Helper()
	testutil.Eventually(t, "task "+id+" runs", func() bool {
		var task Task
		GetJSON(t, g.URL+"/tasks/"+id, &task)
		return task.State == "running"
	})
}

// CommandTask is a task object with what commands leave.
type CommandTask struct {
	ID, State, Error, Note, Reason string
	Progress                       int
	Artifacts                      []string
	Failures                       []struct{ Error string }
	Result                         struct{ Output string }
}

// TasksFile writes a -tasks file.
func TasksFile(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "tasks.toml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// RunTask posts a task, waits for its end, and returns it.
func RunTask(t *testing.T, g *Server, name string, args ...string) (task CommandTask) {
	t.Helper()
	body, err := json.Marshal(map[string]any{"task": name, "args": args})
	if err != nil {
		t.Fatal(err)
	}
	if code := Send(t, "POST", g.URL+"/tasks", string(body), &task); code != http.StatusAccepted {
		t.Fatalf("%s %q: %d %s", name, args, code, task.Reason)
	}
	GetJSON(t, g.URL+"/tasks/"+task.ID+"?wait=30s", &task)
	return task
}

// PostTask posts to /tasks and returns the task that was accepted.
func PostTask(t *testing.T, g *Server, body string) (task CommandTask) {
	t.Helper()
	if code := enqueue(t, g, body, &task); code != http.StatusAccepted {
		t.Fatalf("%s: %d %s", body, code, task.Reason)
	}
	return task
}

// enqueue sends a task or workflow until it gets another status than 503, which a busy
// machine may give. It adds an id where there is none, as a client does whose task must
// run once; the status is 202 also if the response to an earlier attempt was lost.
func enqueue(t *testing.T, g *Server, body string, v any) (code int) {
	t.Helper()
	body = withID(t, body)
	again := false
	for end := time.Now().Add(testutil.Patience); ; again = true {
		code = Send(t, "POST", g.URL+"/tasks", body, v)
		if again && code == http.StatusOK {
			return http.StatusAccepted
		}
		if code != http.StatusServiceUnavailable || time.Now().After(end) {
			return code
		}
		<-time.After(100 * time.Millisecond)
	}
}

// withID returns a body with an id: a chain has that of its first task.
func withID(t *testing.T, body string) string {
	t.Helper()
	type object = map[string]json.RawMessage
	var all object
	var chain []object
	err := json.Unmarshal([]byte(body), &all)
	if err == nil && all["chain"] != nil {
		err = json.Unmarshal(all["chain"], &chain)
	}
	if err != nil {
		t.Fatalf("%.200s: %v", body, err)
	}
	bearer := all
	if len(chain) > 0 {
		bearer = chain[0]
	}
	if all["id"] != nil || bearer["id"] != nil {
		return body
	}
	bearer["id"] = json.RawMessage(strconv.Quote(rand.Text()))
	if len(chain) > 0 {
		all["chain"], err = json.Marshal(chain)
	}
	text, err2 := json.Marshal(all)
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// ShowTask returns a task as it is now.
func ShowTask(t *testing.T, g *Server, id string) (task CommandTask) {
	t.Helper()
	GetJSON(t, g.URL+"/tasks/"+id, &task)
	return task
}

// Flow is a workflow as HTTP shows it.
type Flow struct {
	ID, Kind, State, Callback, Error, Reason string
	FailedTask                               string `json:"failed_task"`
	Progress, Succeeded, Failed              int
	Tasks                                    []string
	Result                                   json.RawMessage
}

// PostFlow posts a workflow to /tasks and returns what was accepted.
func PostFlow(t *testing.T, g *Server, body string) (f Flow) {
	t.Helper()
	if code := enqueue(t, g, body, &f); code != http.StatusAccepted {
		t.Fatalf("%.200s: %d %s", body, code, f.Reason)
	}
	return f
}
