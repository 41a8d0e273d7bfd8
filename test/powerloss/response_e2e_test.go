//go:build e2e

package powerloss_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/fasthttp/websocket"

	"github.com/galeserver/gale/test/harness"
)

const tasksFile = `
[tasks.say]
argv = ["echo", "{0}"]

[tasks.write]
argv = ["sh", "-c", "echo hello > $ARTIFACTS/a.txt"]
`

// step is something that the server confirms, and a check of it.
type step struct {
	name    string
	confirm func(t *testing.T, g *harness.Server)
	check   func(t *testing.T, g *harness.Server)
}

// TestE2EPowerLossAfterResponse cuts the power right after each kind of confirmed change.
// Nothing else is written meanwhile whose sync would include the change.
func TestE2EPowerLossAfterResponse(t *testing.T) {
	var half, task string
	nothing := func(*testing.T, *harness.Server) {}
	steps := []step{
		{"start", nothing, nothing},
		{"task accepted", func(t *testing.T, g *harness.Server) {
			harness.PostTask(t, g, `{"id":"accepted","task":"say","args":["x"],"queue":"later"}`)
		}, wantState("accepted", "queued")},
		{"task ended", func(t *testing.T, g *harness.Server) {
			harness.PostTask(t, g, `{"id":"ended","task":"say","args":["x"]}`)
			if task := harness.AwaitTask(t, g, "ended"); task.State != "success" {
				t.Fatalf("%+v", task)
			}
		}, func(t *testing.T, g *harness.Server) {
			if task := harness.AwaitTask(t, g, "ended"); task.State != "success" || task.Attempts != 1 {
				t.Errorf("%+v", task)
			}
		}},
		{"artifact", func(t *testing.T, g *harness.Server) {
			harness.PostTask(t, g, `{"id":"write","task":"write"}`)
			if task := harness.AwaitTask(t, g, "write"); task.State != "success" {
				t.Fatalf("%+v", task)
			}
		}, wantContent("/tasks/write/artifacts/a.txt", "hello\n")},
		{"task cancelled", func(t *testing.T, g *harness.Server) {
			send2xx(t, "DELETE", g.URL+"/tasks/accepted", "")
		}, wantState("accepted", "cancelled")},
		{"queue paused", func(t *testing.T, g *harness.Server) {
			send2xx(t, "POST", g.URL+"/queues/default/pause", "")
			harness.PostTask(t, g, `{"id":"held","task":"say","args":["x"]}`)
		}, wantState("held", "queued")},
		{"queue resumed", func(t *testing.T, g *harness.Server) {
			send2xx(t, "POST", g.URL+"/queues/default/resume", "")
		}, func(t *testing.T, g *harness.Server) {
			if task := harness.AwaitTask(t, g, "held"); task.State != "success" {
				t.Errorf("%+v", task)
			}
		}},
		{"upload by PUT", func(t *testing.T, g *harness.Server) {
			send2xx(t, "PUT", g.URL+"/upload/put/deep/a.txt", "content")
		}, wantContent("/upload/put/deep/a.txt", "content")},
		{"upload by form", func(t *testing.T, g *harness.Server) {
			kind, body := harness.UploadForm("form", "a.txt", []byte("content"))
			send2xx(t, "POST", g.URL+"/upload", string(body), "Content-Type", kind)
		}, wantContent("/upload/form/a.txt", "content")},
		{"upload by WebSocket", func(t *testing.T, g *harness.Server) {
			c := harness.Socket(t, g, "/upload?directory=socket&filename=a.txt")
			harness.SendMessage(t, c, websocket.BinaryMessage, "content")
			if text := harness.SendMessage(t, c, websocket.TextMessage, "done"); !strings.Contains(text, `"code":200`) {
				t.Fatal(text)
			}
		}, wantContent("/upload/socket/a.txt", "content")},
		{"resumable upload", func(t *testing.T, g *harness.Server) {
			createTus(t, g, "a.txt", 7, "content")
		}, wantContent("/upload/tus/a.txt", "content")},
		{"half of a resumable upload", func(t *testing.T, g *harness.Server) {
			half = createTus(t, g, "half.txt", 10, "")
			resp, err := harness.TusDo(g, "PATCH", half, strings.NewReader("01234"), harness.OffsetStream, "Upload-Offset: 0")
			if err != nil || resp.Status != http.StatusNoContent {
				t.Fatalf("%+v, %v", resp, err)
			}
		}, func(t *testing.T, g *harness.Server) {
			resp, err := harness.TusDo(g, "HEAD", half, nil)
			if err != nil || resp.Status != http.StatusOK || resp.Header.Get("Upload-Offset") != "5" {
				t.Fatalf("%+v, %v", resp, err)
			}
			resp, err = harness.TusDo(g, "PATCH", half, strings.NewReader("56789"), harness.OffsetStream, "Upload-Offset: 5")
			if err != nil || resp.Status != http.StatusNoContent {
				t.Fatalf("%+v, %v", resp, err)
			}
			wantContent("/upload/tus/half.txt", "0123456789")(t, g)
		}},
		{"task of an upload", func(t *testing.T, g *harness.Server) {
			task = harness.Upload(t, g, "sounds", "demo/inspect/testdata/speech.wav").Files[0].Task
		}, func(t *testing.T, g *harness.Server) {
			if got := harness.AwaitTask(t, g, task); got.State != "success" {
				t.Errorf("%+v", got)
			}
		}},
	}
	m := newMachine(t, "-tasks", harness.TasksFile(t, tasksFile))
	for _, s := range steps {
		confirmed := t.Run(s.name, func(t *testing.T) { s.confirm(t, m.Server) })
		m.cutPower(t)
		m.powerOn(t)
		m.start(t)
		if confirmed {
			t.Run(s.name+" survives", func(t *testing.T) { s.check(t, m.Server) })
		}
	}
}

// wantState returns a check of the state of a task.
func wantState(id, state string) func(*testing.T, *harness.Server) {
	return func(t *testing.T, g *harness.Server) {
		if task := harness.GetTask(t, g, id); task.State != state {
			t.Errorf("task %s is %s, want %s", id, task.State, state)
		}
	}
}

// wantContent returns a check of the body of a response.
func wantContent(path, content string) func(*testing.T, *harness.Server) {
	return func(t *testing.T, g *harness.Server) {
		if code, text, err := harness.Get(g.URL + path); err != nil || code != http.StatusOK || text != content {
			t.Errorf("GET %s: %d %q, %v", path, code, text, err)
		}
	}
}

// send2xx sends a request that must succeed.
func send2xx(t *testing.T, method, url, body string, header ...string) {
	t.Helper()
	if resp, text := harness.Request(t, method, url, body, header...); resp.StatusCode/100 != 2 {
		t.Fatalf("%s %s: %d %s", method, url, resp.StatusCode, text)
	}
}

// createTus creates a resumable upload with the first bytes of its content, and returns its
// path.
func createTus(t *testing.T, g *harness.Server, name string, size int, content string) string {
	t.Helper()
	fields := []string{fmt.Sprint("Upload-Length: ", size), harness.TusMetadata("filename", name, "directory", "tus")}
	if content != "" {
		fields = append(fields, harness.OffsetStream)
	}
	resp, err := harness.TusDo(g, "POST", "/tus/", strings.NewReader(content), fields...)
	if err != nil || resp.Status != http.StatusCreated {
		t.Fatalf("%+v, %v", resp, err)
	}
	return strings.TrimPrefix(resp.Header.Get("Location"), g.URL)
}
