//go:build e2e

package soak_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fasthttp/websocket"

	"github.com/galeserver/gale/test/harness"
)

// pause is the time between two operations of a client.
const pause = 30 * time.Millisecond

// workload sends mixed traffic, one client for each kind.
type workload struct {
	cancel  context.CancelFunc
	clients sync.WaitGroup

	mu     sync.Mutex
	done   map[string]int
	busy   map[string]int   // responses with 503: the machine is too busy for the load
	failed map[string]error // last other error by kind
	errors int
}

// errBusy is the error of a response that asks the client to try again.
var errBusy = errors.New("the server is busy")

// operations by kind; n counts the operations of the kind.
var operations = map[string]func(ctx context.Context, g *harness.Server, n int) error{
	"pages":            getPages,
	"bad requests":     sendBadRequests,
	"tasks":            runTask,
	"uploads":          storeFile,
	"resumable upload": resumeFile,
	"messages":         publish,
	"WebSockets":       talk,
	"event streams":    readEvents,
}

// startWorkload starts the clients.
func startWorkload(t *testing.T, g *harness.Server) *workload {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	w := &workload{cancel: cancel, done: map[string]int{}, busy: map[string]int{}, failed: map[string]error{}}
	for kind, operation := range operations {
		w.clients.Go(func() {
			tick := time.NewTicker(pause)
			defer tick.Stop()
			for n := 0; ctx.Err() == nil; n++ {
				limited, end := context.WithTimeout(ctx, time.Minute)
				err := operation(limited, g, n)
				end()
				w.record(ctx, kind, err)
				<-tick.C
			}
		})
	}
	t.Cleanup(func() {
		cancel()
		w.clients.Wait()
	})
	return w
}

func (w *workload) record(ctx context.Context, kind string, err error) {
	if ctx.Err() != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case errors.Is(err, errBusy):
		w.busy[kind]++
	case err != nil:
		w.failed[kind] = err
		w.errors++
	default:
		w.done[kind]++
	}
}

// stop ends the clients and checks that each kind of operation has succeeded, and that none has
// failed, except for 503.
func (w *workload) stop(t *testing.T) {
	t.Helper()
	w.cancel()
	w.clients.Wait()
	for kind := range operations {
		t.Logf("%-40s %d operations, %d with 503", kind, w.done[kind], w.busy[kind])
		if w.done[kind] == 0 || w.failed[kind] != nil {
			t.Errorf("%s: %d succeeded, last error: %v", kind, w.done[kind], w.failed[kind])
		}
	}
	if w.errors > 0 {
		t.Errorf("%d operations failed", w.errors)
	}
}

// want sends a request, whose response must have one of the statuses, and returns the response
// without its body.
func want(ctx context.Context, method, url, body string, header map[string]string, statuses ...int) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	for name, value := range header {
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	for _, status := range statuses {
		if resp.StatusCode == status {
			return resp, nil
		}
	}
	if resp.StatusCode == http.StatusServiceUnavailable {
		return nil, errBusy
	}
	return nil, fmt.Errorf("%s %s: status %d: %.200s", method, url, resp.StatusCode, text)
}

func getPages(ctx context.Context, g *harness.Server, _ int) error {
	for _, path := range []string{"/", "/cached", "/tasks", "/tasks/types", "/queues", "/console", "/openapi.json", "/limited", "/longpoll?s=0.01"} {
		if _, err := want(ctx, "GET", g.URL+path, "", nil, 200, 429); err != nil {
			return err
		}
	}
	return nil
}

func sendBadRequests(ctx context.Context, g *harness.Server, n int) error {
	for _, r := range []struct {
		method, path, body string
		status             int
	}{
		{"GET", fmt.Sprint("/not-there/", n), "", 404},
		{"GET", fmt.Sprint("/tasks/not-there-", n), "", 404},
		{"POST", "/tasks", "{", 400},
		{"POST", "/tasks", fmt.Sprintf(`{"task":"unknown-%d"}`, n), 404},
		{"PATCH", "/tasks", "", 405},
		{"POST", "/publish/bad%20name", "x", 400},
		{"PUT", "/upload/d/../x", "x", 400},
	} {
		if _, err := want(ctx, r.method, g.URL+r.path, r.body, nil, r.status, 400, 404); err != nil {
			return err
		}
	}
	return nil
}

// runTask runs one of 50 tasks again, which fail each time.
func runTask(ctx context.Context, g *harness.Server, n int) error {
	url := fmt.Sprint(g.URL, "/tasks/soak-", n%50)
	created, err := want(ctx, "POST", g.URL+"/tasks", fmt.Sprintf(`{"id":"soak-%d","task":"fails"}`, n%50), nil, 200, 202)
	if err != nil {
		return err
	}
	if created.StatusCode == http.StatusOK { // it exists; 409 if it has not ended yet
		if _, err := want(ctx, "POST", url+"/retry", "", nil, 200, 202, 409); err != nil {
			return err
		}
	}
	if _, err := want(ctx, "GET", url+"?wait=50s", "", nil, 200); err != nil {
		return err
	}
	_, err = want(ctx, "GET", url+"/log", "", nil, 200)
	return err
}

// storeFile stores a file, reads it and removes it. The file exists already if its removal was
// refused before.
func storeFile(ctx context.Context, g *harness.Server, n int) error {
	name := fmt.Sprintf("%d.bin", n%20)
	if _, err := want(ctx, "PUT", g.URL+"/upload/soak/"+name, strings.Repeat("x", 1+n*7919%300_000), nil, 200, 409); err != nil {
		return err
	}
	if _, err := want(ctx, "GET", g.URL+"/upload/soak/"+name, "", nil, 200); err != nil {
		return err
	}
	_, err := want(ctx, "DELETE", g.URL+"/upload?directory=soak&filename="+name, "", nil, 200)
	return err
}

// resumeFile creates a resumable upload, sends half of it and ends it.
func resumeFile(ctx context.Context, g *harness.Server, n int) error {
	resumable := map[string]string{"Tus-Resumable": "1.0.0", "Upload-Length": "2000", "Upload-Metadata": "filename aGFsZi50eHQ=,directory c29haw=="}
	resp, err := want(ctx, "POST", g.URL+"/tus/", "", resumable, 201)
	if err != nil {
		return err
	}
	place := g.URL + strings.TrimPrefix(resp.Header.Get("Location"), g.URL)
	part := map[string]string{"Tus-Resumable": "1.0.0", "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
	if _, err := want(ctx, "PATCH", place, strings.Repeat("x", 1+n%1999), part, 204); err != nil {
		return err
	}
	_, err = want(ctx, "DELETE", place, "", map[string]string{"Tus-Resumable": "1.0.0"}, 204)
	return err
}

// publish publishes to one of four channels.
func publish(ctx context.Context, g *harness.Server, n int) error {
	for range 5 {
		if _, err := want(ctx, "POST", fmt.Sprint(g.URL, "/publish/soak-", n%4), strings.Repeat("m", 200), nil, 200); err != nil {
			return err
		}
	}
	return nil
}

// talk opens a WebSocket, sends a message and reads until it comes back.
func talk(ctx context.Context, g *harness.Server, n int) error {
	path := []string{"/websocket", "/broadcast", "/asyncio"}[n%3]
	c, _, err := websocket.DefaultDialer.DialContext(ctx, g.SocketURL()+path, nil)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	defer c.Close()
	_ = c.SetReadDeadline(time.Now().Add(time.Minute))
	message := fmt.Sprint("message ", n)
	if err := c.WriteMessage(websocket.TextMessage, []byte(message)); err != nil {
		return err
	}
	for {
		_, text, err := c.ReadMessage()
		if websocket.IsCloseError(err, websocket.CloseTryAgainLater) {
			return errBusy
		}
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if strings.Contains(string(text), message) {
			return nil
		}
	}
}

// readEvents subscribes to a channel, reads a message and leaves.
func readEvents(ctx context.Context, g *harness.Server, n int) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprint(g.URL, "/events/soak-", n%4), nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.ReadAtLeast(resp.Body, make([]byte, 100), 50)
	return err
}
