package main

import (
	"encoding/json"
	"errors"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/galeserver/gale/internal/redistest"
)

// stores are the flags for each kind of store.
var stores = map[string]func(t *testing.T) []string{
	"sqlite": func(*testing.T) []string { return nil },
	"redis":  func(t *testing.T) []string { return []string{"-broker", redistest.Start(t).URL()} },
}

// command runs the program in a folder and returns what it prints.
func command(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command(binary, args...)
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("server %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// outcome runs the program in a folder and returns its exit status and what it
// prints.
func outcome(t *testing.T, dir string, args ...string) (code int, out, errs string) {
	t.Helper()
	cmd := exec.Command(binary, args...)
	var stderr strings.Builder
	cmd.Dir, cmd.Stderr = dir, &stderr
	text, err := cmd.Output()
	if exited, ok := errors.AsType[*exec.ExitError](err); ok {
		return exited.ExitCode(), string(text), stderr.String()
	}
	if err != nil {
		t.Fatal(err)
	}
	return 0, string(text), stderr.String()
}

// send makes a request and decodes the answer, whatever its status.
func send(t *testing.T, method, url, body string, v any) (code int) {
	t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(v); err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	return resp.StatusCode
}

// A running task is cancelled by a process that knows nothing but the store,
// and is tried again by another.
func TestManageTasks(t *testing.T) {
	t.Parallel()
	for name, flags := range stores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, where := t.TempDir(), flags(t)
			g := start(t, dir, append([]string{"-procs", "2", "-workers", "1"}, where...)...)
			id := startTask(t, g, "x")
			awaitRunning(t, g, id)
			began := time.Now()
			var shown taskObject
			out := command(t, dir, append([]string{"tasks", "cancel", id, "-json"}, where...)...)
			if err := json.Unmarshal([]byte(out), &shown); err != nil || shown.State != "cancelled" {
				t.Fatalf("%s, %v", out, err)
			}
			eventually(t, "the worker says so", func() bool { return strings.Contains(g.log.String(), "task cancelled") })
			t.Logf("cancelled and given up within %v", time.Since(began).Round(time.Millisecond))
			if code := send(t, "POST", g.url+"/tasks/"+id+"/retry", "", &shown); code != http.StatusOK || shown.State != "queued" {
				t.Fatalf("%d, %+v", code, shown)
			}
			if task := awaitTask(t, g, id); task.State != "success" || task.Attempts != 2 {
				t.Errorf("%+v", task)
			}
			list := command(t, dir, append([]string{"tasks", "list", "-state", "success"}, where...)...)
			if !strings.Contains(list, id) {
				t.Errorf("the list lacks %s:\n%s", id, list)
			}
		})
	}
}
