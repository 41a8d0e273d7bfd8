// Package apptest starts an application in tests. Start runs it inside the test's
// process. StartProcesses runs it as a real server, with a master and child processes.
//
//	func TestMain(m *testing.M) { apptest.Main(m, shop()) }
//
//	func TestOrders(t *testing.T) {
//		s := apptest.Start(t, shop())
//		var task struct{ ID string }
//		s.Post("/orders", order, &task)
//		…
//	}
package apptest

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/galeserver/gale/app"
	"github.com/galeserver/gale/internal/testutil"
)

// asServer is the environment variable that makes the test binary run the application
// of Main instead of the tests. It does not begin with GALE_, because the embedded state
// server, which is also this binary, does not get such variables.
const asServer = "APPTEST_SERVER"

// Main runs the tests of a package and ends the process. Call it from TestMain, so that
// StartProcesses can execute the test binary again as the server of the application a.
func Main(m *testing.M, a app.Application) {
	if os.Getenv(asServer) != "" {
		app.Main(a)
		os.Exit(0)
	}
	mainCalled = true
	os.Exit(m.Run())
}

// mainCalled reports whether the test binary can run as a server.
var mainCalled bool

// Server is a running application.
type Server struct {
	// URL is the address of the server, for example http://127.0.0.1:40123.
	URL string
	// Admin is the address of the admin endpoint, in the same form.
	Admin string
	// Client sends the requests of Get, Post and AwaitTask. It follows no redirects,
	// and opens a new connection for each request.
	Client *http.Client

	t   testing.TB
	log *testutil.LogBuffer
}

// Start starts the application in this process, as with -single, and waits until it is
// ready. The server uses free ports and a temporary data folder; flags are further flags
// of serve.
//
// When the test ends, the server drains. If the server ends with an error, the test
// fails. If the test has failed, it shows the log of the server.
func Start(t testing.TB, a app.Application, flags ...string) *Server {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	log := &testutil.LogBuffer{}
	args := append([]string{"server", "serve", "-single"}, withDefaults(t, flags)...)
	done := make(chan error, 1)
	go func() { done <- app.Run(ctx, a, args, nil, log, log) }() // ends with ctx
	t.Cleanup(func() {
		cancel()
		awaitEnd(t, log, done)
	})
	return awaitReady(t, log, done)
}

// StartProcesses is like Start, but starts the application of Main as a master with
// child processes, which the test can kill. The default of -procs is 1.
func StartProcesses(t testing.TB, flags ...string) *Server {
	t.Helper()
	if !mainCalled {
		t.Fatal("apptest: StartProcesses needs a TestMain that calls apptest.Main")
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	log := &testutil.LogBuffer{}
	cmd := exec.Command(program, append([]string{"serve", "-procs", "1"}, withDefaults(t, flags)...)...)
	cmd.Env = append(os.Environ(), asServer+"=1")
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }() // ends with the process
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		awaitEnd(t, log, done)
	})
	return awaitReady(t, log, done)
}

// withDefaults returns the flags of every test server, followed by those of the test.
func withDefaults(t testing.TB, flags []string) []string {
	return append([]string{"-port", "0", "-admin", "127.0.0.1:0", "-data", t.TempDir(), "-grace", "10s"}, flags...)
}

// awaitEnd waits for the end of a server and checks its error.
func awaitEnd(t testing.TB, log *testutil.LogBuffer, done <-chan error) {
	t.Helper()
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("the server ended with an error: %v", err)
		}
	case <-time.After(testutil.Patience):
		t.Errorf("the server does not end")
	}
	if t.Failed() {
		t.Logf("log of the server:\n%s", log)
	}
}

// awaitReady waits until the server has logged that it is ready, and reads its addresses
// from the log.
func awaitReady(t testing.TB, log *testutil.LogBuffer, done chan error) *Server {
	t.Helper()
	s := &Server{t: t, log: log, Client: &http.Client{
		Timeout:       testutil.Patience,
		Transport:     &http.Transport{DisableKeepAlives: true}, // so that every process may get a request
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	testutil.Eventually(t, "the server is ready", func() bool {
		select {
		case err := <-done:
			done <- err // awaitEnd reads it again
			t.Fatalf("the server failed to start: %v", err)
		default:
		}
		return strings.Contains(log.String(), "msg=ready ")
	})
	for line := range strings.Lines(log.String()) {
		for word := range strings.FieldsSeq(line) {
			if url, ok := strings.CutPrefix(word, "url="); ok {
				s.URL = url
			}
			if addr, ok := strings.CutPrefix(word, "addr="); ok && strings.Contains(line, `msg="admin endpoint"`) {
				s.Admin = "http://" + addr
			}
		}
	}
	return s
}

// Log returns what the server has logged so far.
func (s *Server) Log() string { return s.log.String() }

// Get sends a GET request and returns the status and the body of the response. Path is
// the path with an optional query. An error in the connection fails the test, as for
// Post.
func (s *Server) Get(path string) (status int, body string) {
	s.t.Helper()
	return s.send(http.MethodGet, path, nil)
}

// Post sends v as JSON in a POST request and returns the status of the response. If into
// is not nil, the body of the response must be JSON and is stored in *into.
func (s *Server) Post(path string, v, into any) (status int) {
	s.t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		s.t.Fatal(err)
	}
	status, body := s.send(http.MethodPost, path, text)
	if into != nil {
		if err := json.Unmarshal([]byte(body), into); err != nil {
			s.t.Fatalf("POST %s: %d %s: %v", path, status, body, err)
		}
	}
	return status
}

func (s *Server) send(method, path string, json []byte) (status int, body string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, s.URL+path, bytes.NewReader(json))
	if err != nil {
		s.t.Fatal(err)
	}
	if json != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := s.Client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// Task holds the main fields of a task object. Task.Task is the name of the task.
type Task struct {
	ID, Task, State, Error string
	Attempts               int
	Result                 json.RawMessage
}

// AwaitTask waits until a task has ended, with any final state, and returns it. It needs
// the task routes of the platform, without a prefix.
func (s *Server) AwaitTask(id string) (t Task) {
	s.t.Helper()
	for end := time.Now().Add(testutil.Patience); ; {
		status, body := s.Get("/tasks/" + id + "?wait=20s")
		err := json.Unmarshal([]byte(body), &t)
		switch {
		case status == http.StatusOK && err == nil && final(t.State):
			return t
		case status != http.StatusOK && status != http.StatusServiceUnavailable:
			s.t.Fatalf("task %s: %d %s", id, status, body)
		case time.Now().After(end):
			s.t.Fatalf("task %s has not ended: %s", id, body)
		}
	}
}

func final(state string) bool {
	return state == "success" || state == "failed" || state == "cancelled" || state == "dead"
}
