// Package apptest starts an application for tests: in the process of the test, or as a
// server with a master and children.
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

// asServer makes the test binary the application of Main.
const asServer = "GALE_APPTEST_SERVER"

// Main runs the tests of a package, and is to be called by its TestMain. StartProcesses
// executes the test binary again, which is then the application and no test. It does
// not return.
func Main(m *testing.M, a app.Application) {
	if os.Getenv(asServer) != "" {
		app.Main(a)
		os.Exit(0)
	}
	mainCalled = true
	os.Exit(m.Run())
}

// mainCalled says that the test binary can be a server.
var mainCalled bool

// Server is an application that serves.
type Server struct {
	// URL is its address, such as http://127.0.0.1:40123, and Admin that of its admin
	// endpoint.
	URL, Admin string
	// Client sends the requests of the methods. It follows no redirects.
	Client *http.Client

	t   testing.TB
	log *testutil.LogBuffer
}

// Start starts the application in this process, as -single does, on free ports and with a
// data folder of its own. Flags are those of serve. It waits until all of it is ready.
// At the end of the test the server drains; that it ends with an error fails the test,
// and its log is shown if the test has failed.
func Start(t testing.TB, a app.Application, flags ...string) *Server {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	log := &testutil.LogBuffer{}
	args := append([]string{"server", "serve", "-single"}, own(t, flags)...)
	done := make(chan error, 1)
	go func() { done <- app.Run(ctx, a, args, nil, log, log) }() // ends with ctx
	t.Cleanup(func() {
		cancel()
		ended(t, log, done)
	})
	return serving(t, log, done)
}

// StartProcesses starts the application of Main as a server with a master and children:
// what Start does, but with real processes, which a test can kill. Flags are those of
// serve; -procs is 1 unless they say otherwise.
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
	cmd := exec.Command(program, append([]string{"serve", "-procs", "1"}, own(t, flags)...)...)
	cmd.Env = append(os.Environ(), asServer+"=1")
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }() // ends with the process
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		ended(t, log, done)
	})
	return serving(t, log, done)
}

// own are the flags that each server of a test has, followed by those of the test.
func own(t testing.TB, flags []string) []string {
	return append([]string{"-port", "0", "-admin", "127.0.0.1:0", "-data", t.TempDir(), "-grace", "10s"}, flags...)
}

// ended waits for the end of a server.
func ended(t testing.TB, log *testutil.LogBuffer, done <-chan error) {
	t.Helper()
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("the server ended with: %v", err)
		}
	case <-time.After(testutil.Patience):
		t.Errorf("the server does not end")
	}
	if t.Failed() {
		t.Logf("log of the server:\n%s", log)
	}
}

// serving waits until the log says that all is ready, and reads the addresses in it.
func serving(t testing.TB, log *testutil.LogBuffer, done chan error) *Server {
	t.Helper()
	s := &Server{t: t, log: log, Client: &http.Client{
		Timeout:       testutil.Patience,
		Transport:     &http.Transport{DisableKeepAlives: true}, // each request may get another process
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	testutil.Eventually(t, "the server is ready", func() bool {
		select {
		case err := <-done:
			done <- err // for the end of the test
			t.Fatalf("the server does not start: %v", err)
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

// Log is what the server has logged until now.
func (s *Server) Log() string { return s.log.String() }

// Get sends GET to a path and returns the status and the body.
func (s *Server) Get(path string) (status int, body string) {
	s.t.Helper()
	return s.send(http.MethodGet, path, nil)
}

// Post sends v as JSON to a path. It returns the status, and stores the response, which
// must be JSON, in what into points to, unless that is nil.
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

// Task is the end of a task.
type Task struct {
	ID, Task, State, Error string
	Attempts               int
	Result                 json.RawMessage
}

// AwaitTask waits until a task has ended, however it has. The platform's routes must be
// where they are by default.
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
