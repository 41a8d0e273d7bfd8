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

// Task is a task object with any result.
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
			return false // the task store is not available
		}
		GetJSON(t, g.URL+"/tasks/"+id+"?wait=5s", &task)
		return task.State == "success" || task.State == "failed" || task.State == "dead"
	})
	return task
}

// CommandTask is a task object whose result is that of a command task.
type CommandTask struct {
	ID, State, Error, Note, Reason string
	Progress                       int
	Artifacts                      []string
	Failures                       []struct{ Error string }
	Result                         struct{ Output string }
}

// TasksFile writes a tasks file and returns its path.
func TasksFile(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "tasks.toml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// RunTask posts a task, waits until it has ended, and returns it.
func RunTask(t *testing.T, g *Server, name string, args ...string) (task CommandTask) {
	t.Helper()
	body, err := json.Marshal(map[string]any{"task": name, "args": args})
	if err != nil {
		t.Fatal(err)
	}
	if code := SendJSON(t, "POST", g.URL+"/tasks", string(body), &task); code != http.StatusAccepted {
		t.Fatalf("%s %q: %d %s", name, args, code, task.Reason)
	}
	GetJSON(t, g.URL+"/tasks/"+task.ID+"?wait=30s", &task)
	return task
}

// PostTask posts a task to /tasks and returns it. It must be accepted.
func PostTask(t *testing.T, g *Server, body string) (task CommandTask) {
	t.Helper()
	if code := enqueue(t, g, body, &task); code != http.StatusAccepted {
		t.Fatalf("%s: %d %s", body, code, task.Reason)
	}
	return task
}

// enqueue sends a task or workflow, and repeats the request while the status is 503, which is
// possible on a busy machine. It adds an id if there is none, so that a repeated request
// creates only one task. The status is 202 even if only an earlier request has created it.
func enqueue(t *testing.T, g *Server, body string, v any) (code int) {
	t.Helper()
	body = withID(t, body)
	again := false
	for end := time.Now().Add(testutil.Patience); ; again = true {
		code = SendJSON(t, "POST", g.URL+"/tasks", body, v)
		if again && code == http.StatusOK {
			return http.StatusAccepted
		}
		if code != http.StatusServiceUnavailable || time.Now().After(end) {
			return code
		}
		<-time.After(100 * time.Millisecond)
	}
}

// withID returns the body with an id. The id of a chain is that of its first task.
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

// GetTask returns the present state of a task.
func GetTask(t *testing.T, g *Server, id string) (task CommandTask) {
	t.Helper()
	GetJSON(t, g.URL+"/tasks/"+id, &task)
	return task
}

// Workflow is the object of a workflow.
type Workflow struct {
	ID, Kind, State, Callback, Error, Reason string
	FailedTask                               string `json:"failed_task"`
	Progress, Succeeded, Failed              int
	Tasks                                    []string
	Result                                   json.RawMessage
}

// PostWorkflow posts a workflow to /tasks and returns it. It must be accepted.
func PostWorkflow(t *testing.T, g *Server, body string) (f Workflow) {
	t.Helper()
	if code := enqueue(t, g, body, &f); code != http.StatusAccepted {
		t.Fatalf("%.200s: %d %s", body, code, f.Reason)
	}
	return f
}
