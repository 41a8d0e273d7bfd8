// Package examples_test runs the applications in docs/example as their comments say.
package examples_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/fasthttp/websocket"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/test/harness"
)

// serve builds an example and starts it on free ports.
func serve(t *testing.T, name string, args ...string) *harness.Server {
	t.Helper()
	return launch(t, command(t, build(t, name), args...))
}

// command returns the command that starts an example on free ports.
func command(t *testing.T, program string, args ...string) *exec.Cmd {
	t.Helper()
	return exec.Command(program, append([]string{"-port", "0", "-admin", "127.0.0.1:0", "-data", filepath.Join(t.TempDir(), "data")}, args...)...)
}

func launch(t *testing.T, cmd *exec.Cmd) *harness.Server {
	t.Helper()
	g, err := harness.LaunchAs(cmd)
	return harness.MustStart(t, g, err)
}

func build(t *testing.T, name string) (program string) {
	t.Helper()
	program = filepath.Join(t.TempDir(), name)
	cmd := exec.Command("go", "build", "-o", program, "./docs/example/"+name)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // as the binary is built
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return program
}

func TestSmall(t *testing.T) {
	t.Parallel()
	g := serve(t, "small", "-procs", "1")
	if code, body, err := harness.Get(g.URL + "/hello/ada"); err != nil || code != 200 || body != "Hello, ada" {
		t.Errorf("%d %q, %v", code, body, err)
	}
	if code, body, err := harness.Get(g.URL + "/console"); err != nil || code != 200 || !strings.Contains(body, "<html") {
		t.Errorf("console: %d, %v", code, err)
	}
}

// The chat, as Tornado's, can be read at one sitting.
func TestChatIsShort(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("docs/example/chat/*.go")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	lines := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		lines += bytes.Count(text, []byte("\n"))
	}
	if lines > 120 {
		t.Errorf("the chat has %d lines of Go, more than 120", lines)
	}
}

type chatMessage struct {
	ID   uint64
	Body string
}

func readChat(t *testing.T, conn *websocket.Conn) (m chatMessage) {
	t.Helper()
	_, text, err := conn.ReadMessage()
	if err == nil {
		err = json.Unmarshal(text, &m)
	}
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return m
}

// Clients of two processes get each other's messages. A client that connects later gets
// the history, also after a process was killed.
func TestChat(t *testing.T) {
	t.Parallel()
	g := serve(t, "chat", "-procs", "2", "-workers", "0")
	if code, body, err := harness.Get(g.URL); err != nil || code != 200 || !strings.Contains(body, "/chatsocket") {
		t.Errorf("page: %d, %v", code, err)
	}
	var conns []*websocket.Conn
	for range 8 { // so that each process has some
		conns = append(conns, harness.Socket(t, g, "/chatsocket"))
	}
	for i, conn := range conns {
		if err := conn.WriteJSON(chatMessage{Body: fmt.Sprint("message ", i)}); err != nil {
			t.Fatal(err)
		}
		for at, reader := range conns {
			if m := readChat(t, reader); m.Body != fmt.Sprint("message ", i) || m.ID == 0 {
				t.Fatalf("client %d received %+v, want message %d", at, m, i)
			}
		}
	}
	before := g.Slots(t)
	if err := syscall.Kill(before["serve.0"].PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	testutil.Eventually(t, "serve.0 has a new process", func() bool {
		now := g.Slots(t)["serve.0"]
		return now.PID != 0 && now.PID != before["serve.0"].PID && now.State == "live"
	})
	for range 4 {
		late := harness.Socket(t, g, "/chatsocket")
		for i := range conns {
			if m := readChat(t, late); m.Body != fmt.Sprint("message ", i) {
				t.Fatalf("a late client received %+v, want message %d", m, i)
			}
		}
	}
	bad := harness.Socket(t, g, "/chatsocket")
	for range conns {
		readChat(t, bad)
	}
	if err := bad.WriteMessage(websocket.TextMessage, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := bad.ReadMessage(); !websocket.IsCloseError(err, websocket.ClosePolicyViolation) {
		t.Errorf("invalid text: %v", err)
	}
}

func TestShop(t *testing.T) {
	t.Parallel()
	g := serve(t, "shop", "-procs", "1", "-workers", "1", "-max-copies", "3")
	var task harness.Task
	if code := harness.SendJSON(t, http.MethodPost, g.URL+"/orders", `{"customer":"Ann","copies":2}`, &task); code != http.StatusAccepted {
		t.Fatalf("order: %d", code)
	}
	if task = harness.AwaitTask(t, g, task.ID); string(task.Result) != `"printed 2 for Ann"` {
		t.Errorf("%+v", task)
	}
	for body, want := range map[string]string{
		`{"customer":"Ann","copies":4}`: "copies must be at most 3", `{"customer":"","copies":0}`: "customer must have at least 1 character; copies must be at least 1", `{"copies":1}`: "customer is missing", `{"customer":"Ann","price":1}`: "price is unknown",
	} {
		var fault struct{ Reason string }
		if code := harness.SendJSON(t, http.MethodPost, g.URL+"/orders", body, &fault); code != 400 || !strings.Contains(fault.Reason, want) {
			t.Errorf("%s: %d %q, want %q", body, code, fault.Reason, want)
		}
	}
	var picture bytes.Buffer
	if err := png.Encode(&picture, image.NewGray(image.Rect(0, 0, 30, 20))); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "cover.png")
	if err := os.WriteFile(file, picture.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	stored := harness.Upload(t, g, "pictures", file)
	if task = harness.AwaitTask(t, g, stored.Files[0].Task); string(task.Result) != `{"width":30,"height":20}` {
		t.Errorf("%+v", task)
	}
	for _, args := range [][]string{{"check", "-max-copies", "0"}, {"check", "-max-copies", "many"}} {
		cmd := exec.Command(g.Cmd.Path, args...)
		cmd.Dir = t.TempDir()
		if out, err := cmd.CombinedOutput(); err == nil || !bytes.Contains(out, []byte("-max-copies")) {
			t.Errorf("%q: %v %s", args, err, out)
		}
	}
	list := exec.Command(g.Cmd.Path, "tasks", "schedules")
	list.Dir = t.TempDir()
	if out, err := list.CombinedOutput(); err != nil || !bytes.Contains(out, []byte("close_day")) {
		t.Errorf("schedules: %v %s", err, out)
	}
}
