package tasks_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/test/harness"
)

// workerCall sends a request of the worker protocol and decodes the response, which must have
// the status 200.
func workerCall(t *testing.T, g *harness.Server, path string, body, into any) {
	t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	var raw json.RawMessage
	if code := harness.SendJSON(t, "POST", g.URL+"/workers/"+path, string(text), &raw); code != http.StatusOK {
		t.Fatalf("%s %s: %d %s", path, text, code, raw)
	}
	if err := json.Unmarshal(raw, into); err != nil {
		t.Fatalf("%s: %v: %s", path, err, raw)
	}
}

type workerLease struct {
	Lease   string
	Task    struct{ ID, Worker string }
	Retries int
}

type workerResult struct {
	Lease, State, Reason string
	Code                 int
}

func announceWorker(t *testing.T, g *harness.Server, tasks ...string) (session string) {
	t.Helper()
	all := make([]map[string]any, len(tasks))
	for i, name := range tasks {
		all[i] = map[string]any{"name": name, "max_retries": 2, "schema": map[string]any{"type": "array", "maxItems": 1}}
	}
	var r struct{ Session string }
	workerCall(t, g, "announce", map[string]any{"worker": "test.0", "version": "1", "tasks": all}, &r)
	return r.Session
}

func leaseTasks(t *testing.T, g *harness.Server, session string, most int, holds ...string) []workerLease {
	t.Helper()
	var r struct{ Leases []workerLease }
	workerCall(t, g, "lease", map[string]any{"session": session, "max": most, "wait": 40, "holds": holds}, &r)
	return r.Leases
}

// A program in another language, here this test, runs tasks with every store.
func TestWorkerProtocol(t *testing.T) {
	harness.OnTaskStores(t, func(t *testing.T, where []string) {
		g := harness.Start(t, t.TempDir(), append([]string{"-procs", "2", "-workers", "0"}, where...)...)
		if code := harness.SendJSON(t, "POST", g.URL+"/tasks", `{"task":"greet"}`, new(json.RawMessage)); code != http.StatusNotFound {
			t.Errorf("a name that nobody has announced: %d", code)
		}
		waiting := harness.PostTask(t, g, `{"id":"waiting","task":"greet","args":["early"],"wait_for_worker":true}`)
		session := announceWorker(t, g, "greet")
		if code := harness.SendJSON(t, "POST", g.URL+"/tasks", `{"task":"greet","args":[1,2]}`, new(json.RawMessage)); code != http.StatusBadRequest {
			t.Errorf("wrong arguments: %d", code)
		}
		if _, body, err := harness.Get(g.URL + "/tasks/types"); err != nil || !strings.Contains(body, `"greet"`) {
			t.Errorf("/tasks/types: %s, %v", body, err)
		}
		l := leaseTasks(t, g, session, 1)[0]
		if l.Task.ID != waiting.ID || !strings.HasPrefix(l.Task.Worker, "test.0~") {
			t.Fatalf("leased %+v", l)
		}
		put, err := http.NewRequestWithContext(t.Context(), http.MethodPut, g.URL+"/workers/artifacts/"+l.Lease+"/greeting.txt", strings.NewReader("hello"))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(put)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		if resp.Body.Close(); resp.StatusCode != http.StatusOK {
			t.Fatalf("artifact: %d %s", resp.StatusCode, body)
		}
		var results []workerResult
		workerCall(t, g, "progress", []any{map[string]any{"lease": l.Lease, "progress": 40, "note": "half"}}, &results)
		workerCall(t, g, "log", []any{map[string]any{"lease": l.Lease, "lines": []string{"one", "two"}}}, &results)
		for range 2 {
			workerCall(t, g, "finish", []any{map[string]any{"lease": l.Lease, "state": "success", "result": "hello early", "artifacts": []string{"greeting.txt"}}}, &results)
			if results[0].Code != http.StatusOK || results[0].State != "success" {
				t.Errorf("finish: %+v", results)
			}
		}
		if _, body, err := harness.Get(g.URL + "/tasks/waiting/artifacts/greeting.txt"); err != nil || body != "hello" {
			t.Errorf("artifact: %q, %v", body, err)
		}
		if _, body, err := harness.Get(g.URL + "/tasks/waiting/log"); err != nil || body != "one\ntwo\n" {
			t.Errorf("log: %q, %v", body, err)
		}

		harness.PostTask(t, g, `{"id":"long","task":"greet"}`)
		l = leaseTasks(t, g, session, 1)[0]
		cancelled := make(chan []string, 1)
		go func() { // ends with the response
			var r struct{ Cancelled []string }
			text := fmt.Sprintf(`{"session":%q,"holds":[%q]}`, session, l.Lease)
			resp, err := http.Post(g.URL+"/workers/extend", "application/json", strings.NewReader(text))
			if err == nil {
				err = json.NewDecoder(resp.Body).Decode(&r)
				_ = resp.Body.Close()
			}
			if err != nil {
				t.Error(err)
			}
			cancelled <- r.Cancelled
		}()
		if code := harness.SendJSON(t, "DELETE", g.URL+"/tasks/long", "", new(json.RawMessage)); code != http.StatusOK {
			t.Errorf("cancel: %d", code)
		}
		if got := <-cancelled; len(got) != 1 || got[0] != l.Lease {
			t.Errorf("cancelled %v", got)
		}
		harness.PostTask(t, g, `{"task":"nobody","wait_for_worker":true}`)
		// On Redis, a task in a queue that a worker serves counts after the worker has skipped it.
		var leased struct{ Leases []json.RawMessage }
		if workerCall(t, g, "lease", map[string]any{"session": session, "wait": 0}, &leased); len(leased.Leases) > 0 {
			t.Errorf("leased %s", leased.Leases)
		}
		testutil.Eventually(t, "the metric of unclaimed tasks", func() bool {
			_, body, err := harness.Get("http://" + g.Admin + "/metrics")
			return err == nil && strings.Contains(body, `gale_tasks_unclaimed{queue="default"} 1`)
		})
	})
}
