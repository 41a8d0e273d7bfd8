package tasks_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fasthttp/websocket"

	"github.com/galeserver/gale/test/harness"
)

// watched is a message of WS /tasks/{id}/watch.
type watched struct {
	ID, State, Note string
	Progress        int
}

// watchToEnd reads until the server closes the WebSocket. It returns all messages and
// the close code.
func watchToEnd(c *websocket.Conn) (all []watched, code int, err error) {
	for {
		_ = c.SetReadDeadline(time.Now().Add(time.Minute))
		_, data, err := c.ReadMessage()
		if closed, ok := err.(*websocket.CloseError); ok {
			return all, closed.Code, nil
		}
		if err != nil {
			return all, 0, err
		}
		var w watched
		if err := json.Unmarshal(data, &w); err != nil {
			return all, 0, err
		}
		all = append(all, w)
	}
}

// A thousand clients in four processes watch one task. Each receives the current
// state, progress and the final state, and then the connection is closed.
func TestWatchers(t *testing.T) {
	harness.OnTaskStores(t, func(t *testing.T, where []string) {
		dir := t.TempDir()
		file := harness.TasksFile(t, `
			[tasks.steps]
			argv = ["sh", "-c", "for i in 20 40 60 80; do echo progress $i step; sleep 0.2; done"]`)
		g := harness.Start(t, dir, append([]string{"-procs", "4", "-workers", "1", "-tasks", file}, where...)...)
		harness.Command(t, dir, append([]string{"tasks", "queues", "pause", "default"}, where...)...)
		id := harness.PostTask(t, g, `{"task":"steps"}`).ID
		const n = 1000
		conns := make([]*websocket.Conn, n)
		for i := range conns {
			conns[i] = harness.Socket(t, g, "/tasks/"+id+"/watch")
		}
		harness.Command(t, dir, append([]string{"tasks", "queues", "resume", "default"}, where...)...)
		began := time.Now()
		var mu sync.Mutex
		var wg sync.WaitGroup
		progress, final := 0, 0
		for _, c := range conns {
			wg.Go(func() {
				all, code, err := watchToEnd(c)
				mu.Lock()
				defer mu.Unlock()
				if err != nil || code != websocket.CloseNormalClosure || len(all) < 2 || all[0].State != "queued" || all[len(all)-1].State != "success" || all[len(all)-1].Progress != 100 {
					t.Errorf("a client received %+v, close code %d, %v", all, code, err)
					return
				}
				final++
				for i, w := range all {
					if i > 0 && w.Progress < all[i-1].Progress {
						t.Errorf("progress decreases: %+v", all)
					}
					if w.Progress > 0 && w.Progress < 100 {
						progress++
					}
				}
			})
		}
		wg.Wait()
		t.Logf("%d of %d clients received the final state within %v, and %d messages of progress", final, n, time.Since(began).Round(time.Millisecond), progress)
		if progress < n {
			t.Errorf("%d clients received %d messages of progress", n, progress)
		}
		// A client that connects after the end receives the final state.
		all, code, err := watchToEnd(harness.Socket(t, g, "/tasks/"+id+"/watch"))
		if err != nil || code != websocket.CloseNormalClosure || len(all) != 1 || all[0].State != "success" {
			t.Errorf("after the end: %+v, %d, %v", all, code, err)
		}
	})
}

// Watching is refused for unknown tasks, without the token, and without a WebSocket
// handshake. A client that sends a message is disconnected.
func TestWatchRefused(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, t.TempDir(), "-procs", "1", "-workers", "0", "-token", "s3cret")
	req, err := http.NewRequest(http.MethodPost, g.URL+"/tasks", strings.NewReader(`{"task":"long_running_task","id":"a"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer s3cret")
	resp, err := http.DefaultClient.Do(req)
	if err != nil || resp.StatusCode != http.StatusAccepted {
		t.Fatalf("%v, %v", resp, err)
	}
	resp.Body.Close()
	for path, want := range map[string]int{"/tasks/a/watch": http.StatusUnauthorized, "/tasks/nobody/watch": http.StatusUnauthorized} {
		if _, resp, err := websocket.DefaultDialer.Dial(g.SocketURL()+path, nil); err == nil || resp.StatusCode != want {
			t.Errorf("%s without a token: %v", path, err)
		}
	}
	with := func(origin string) http.Header {
		h := http.Header{"Sec-Websocket-Protocol": {"bearer.s3cret"}}
		if origin != "" {
			h.Set("Origin", origin)
		}
		return h
	}
	if _, resp, err := websocket.DefaultDialer.Dial(g.SocketURL()+"/tasks/nobody/watch", with("")); err == nil || resp.StatusCode != http.StatusNotFound {
		t.Errorf("an unknown task: %v", err)
	}
	if _, resp, err := websocket.DefaultDialer.Dial(g.SocketURL()+"/tasks/a/watch", with("https://evil.example")); err == nil || resp.StatusCode != http.StatusForbidden {
		t.Errorf("from another origin: %v", err)
	}
	c, _, err := websocket.DefaultDialer.Dial(g.SocketURL()+"/tasks/a/watch", with(""))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.WriteMessage(websocket.TextMessage, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if all, code, err := watchToEnd(c); err != nil || code != websocket.ClosePolicyViolation || len(all) > 1 {
		t.Errorf("after a message from the client: %+v, %d, %v", all, code, err)
	}
	if code, _, err := harness.Get(g.URL + "/tasks/a/watch"); err != nil || code != http.StatusUnauthorized {
		t.Errorf("without a handshake and without a token: %d, %v", code, err)
	}
}
