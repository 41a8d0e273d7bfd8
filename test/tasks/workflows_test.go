package tasks_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/test/harness"
)

// workflowTasks are a task that succeeds, one that fails, and one that runs for ten
// minutes.
const workflowTasks = `
	[tasks.say]
	argv = ["echo", "{0}"]
	[tasks.fail]
	argv = ["false"]
	[tasks.hold]
	argv = ["sleep", "600"]`

// wantResponse sends a request and checks the status of the response. The reason must
// contain each of reasons.
func wantResponse(t *testing.T, g *harness.Server, method, path, body string, status int, reasons ...string) (f harness.Workflow) {
	t.Helper()
	code := harness.SendJSON(t, method, g.URL+path, body, &f)
	if code != status {
		t.Errorf("%s %s %.200s: %d %q, want %d", method, path, body, code, f.Reason, status)
	}
	for _, want := range reasons {
		if !strings.Contains(f.Reason, want) {
			t.Errorf("%s %s %.200s: reason %q does not contain %q", method, path, body, f.Reason, want)
		}
	}
	return f
}

// A workflow reserves the ids of its tasks: no other task or workflow can use them. Ids
// that occur twice are refused. A refused request creates nothing.
func TestWorkflowIDs(t *testing.T) {
	harness.OnTaskStores(t, func(t *testing.T, where []string) {
		file := harness.TasksFile(t, workflowTasks)
		// Without a worker nothing changes its state.
		g := harness.Start(t, t.TempDir(), append([]string{"-procs", "2", "-workers", "0", "-tasks", file}, where...)...)
		task := func(id string) string { return fmt.Sprintf(`{"task":"say","args":["x"],"id":%q}`, id) }
		link := func(id string) string { return fmt.Sprintf(`{"task":"say","id":%q}`, id) }

		for _, body := range []string{
			`{"chain":[` + task("dup") + `,` + link("dup") + `]}`,
			`{"chain":[` + task("first") + `,` + link("dup") + `,` + link("dup") + `]}`,
			`{"id":"dup","chain":[{"task":"say","args":["x"]},` + link("dup") + `]}`,
			`{"group":[` + task("dup") + `,` + task("dup") + `]}`,
			`{"id":"dup","group":[` + task("dup") + `]}`,
			`{"group":[` + task("dup") + `],"callback":` + link("dup") + `}`,
			`{"id":"dup","group":[` + task("one") + `],"callback":` + link("dup") + `}`,
		} {
			wantResponse(t, g, "POST", "/tasks", body, http.StatusBadRequest, `"dup"`)
		}
		for _, id := range []string{"dup", "first", "one"} {
			wantResponse(t, g, "GET", "/tasks/"+id, "", http.StatusNotFound)
		}

		harness.PostTask(t, g, task("alone"))
		harness.PostWorkflow(t, g, `{"chain":[`+task("a")+`,`+link("b")+`,`+link("c")+`]}`)
		harness.PostWorkflow(t, g, `{"id":"g","group":[`+task("m1")+`,`+task("m2")+`],"callback":{"task":"say","args":["x"],"immutable":true,"id":"cb"}}`)
		for id, holder := range map[string]string{
			"alone": "another task", "a": "another workflow", "b": `workflow "a"`, "c": `workflow "a"`,
			"g": "another workflow", "m2": `workflow "g"`, "cb": `workflow "g"`,
		} {
			id = fmt.Sprintf("%q", id)
			for _, body := range []string{
				`{"chain":[` + task("new1") + `,{"task":"say","id":` + id + `}]}`,
				`{"id":` + id + `,"chain":[{"task":"say","args":["other"]},` + link("new1") + `]}`,
				`{"group":[` + task("new1") + `,{"task":"say","args":["x"],"id":` + id + `}]}`,
				`{"id":` + id + `,"group":[` + task("new1") + `]}`,
				`{"group":[` + task("new1") + `],"callback":{"task":"say","id":` + id + `}}`,
			} {
				wantResponse(t, g, "POST", "/tasks", body, http.StatusConflict, "id "+id, holder)
			}
			wantResponse(t, g, "GET", "/tasks/new1", "", http.StatusNotFound)
		}
		for id, workflow := range map[string]string{"b": "a", "c": "a", "g": "g", "cb": "g"} {
			reason := fmt.Sprintf("workflow %q", workflow)
			if id == workflow {
				reason = "another workflow"
			}
			wantResponse(t, g, "POST", "/tasks", task(id), http.StatusConflict, fmt.Sprintf("id %q", id), reason)
			wantResponse(t, g, "POST", "/tasks", fmt.Sprintf(`{"task":"say","args":["x"],"id":%q,"unique":"k","unique_for":"1h"}`, id),
				http.StatusConflict, fmt.Sprintf("id %q", id))
		}
		harness.PostTask(t, g, task("new1")) // the id is still free
	})
}

// A request that is sent again gets 200 and the same task or workflow. Another one
// with the same id is refused.
func TestPostedTwice(t *testing.T) {
	harness.OnTaskStores(t, func(t *testing.T, where []string) {
		file := harness.TasksFile(t, workflowTasks)
		g := harness.Start(t, t.TempDir(), append([]string{"-procs", "1", "-workers", "0", "-tasks", file}, where...)...)
		for name, c := range map[string]struct{ body, location, other string }{
			"task":   {`{"id":"t","task":"say","args":["x"],"countdown":"1h"}`, "/tasks/t", ""},
			"unique": {`{"task":"say","args":["x"],"unique":"k","unique_for":"1h"}`, "", ""},
			"chain": {`{"id":"c","chain":[{"task":"say","args":["x"],"countdown":"1h"},{"task":"say"}]}`, "/workflows/c",
				`{"id":"c","chain":[{"task":"say","args":["x"],"countdown":"1h"},{"task":"fail","immutable":true}]}`},
			"named chain": {`{"chain":[{"id":"n","task":"say","args":["x"]},{"id":"n2","task":"say"}]}`, "/workflows/n",
				`{"chain":[{"id":"n","task":"say","args":["x"]},{"id":"n3","task":"say"}]}`},
			"chain of one": {`{"chain":[{"id":"o","task":"say","args":["x"]}]}`, "/workflows/o",
				`{"chain":[{"id":"o","task":"say","args":["y"]}]}`},
			"unique chain": {`{"chain":[{"task":"say","args":["x"],"unique":"kc","unique_for":"1h"},{"task":"say"}]}`, "", ""},
			"group": {`{"id":"g","group":[{"task":"say","args":["x"],"expires":"1h"},{"task":"say","args":["y"]}]}`, "/workflows/g",
				`{"id":"g","group":[{"task":"say","args":["x"]}]}`},
			"chord": {`{"id":"d","group":[{"task":"say","args":["x"]}],"callback":{"task":"say"}}`, "/workflows/d",
				`{"id":"d","group":[{"task":"say","args":["x"]}],"callback":{"task":"say","timeout":"1m"}}`},
		} {
			t.Run(name, func(t *testing.T) {
				var objects, places []string
				for _, want := range []int{http.StatusAccepted, http.StatusOK, http.StatusOK} {
					resp, err := http.Post(g.URL+"/tasks", "application/json", strings.NewReader(c.body))
					if err != nil {
						t.Fatal(err)
					}
					var object struct {
						ID    string
						Tasks json.RawMessage
					}
					err = json.NewDecoder(resp.Body).Decode(&object)
					resp.Body.Close()
					if err != nil || resp.StatusCode != want {
						t.Fatalf("%d %v, want %d", resp.StatusCode, err, want)
					}
					objects = append(objects, object.ID+string(object.Tasks))
					places = append(places, resp.Header.Get("Location"))
				}
				if objects[0] != objects[1] || objects[0] != objects[2] || places[0] != places[1] || places[0] == "" {
					t.Errorf("got %q at %q", objects, places)
				}
				if c.location != "" && places[0] != c.location {
					t.Errorf("Location is %q, want %q", places[0], c.location)
				}
				if c.other != "" {
					wantResponse(t, g, "POST", "/tasks", c.other, http.StatusConflict, "id ", "is taken by another")
				}
			})
		}
		// A task whose id is that of a chain is its first task.
		wantResponse(t, g, "POST", "/tasks", `{"id":"c","task":"say","args":["z"]}`, http.StatusOK)
		wantResponse(t, g, "POST", "/tasks", `{"id":"t","chain":[{"task":"say","args":["x"]},{"task":"say"}]}`, http.StatusConflict, `"t" is taken by another task`)
	})
}

// DELETE /workflows/{id} and server tasks cancel end a workflow as a whole.
func TestCancelWorkflow(t *testing.T) {
	harness.OnTaskStores(t, func(t *testing.T, where []string) {
		dir := t.TempDir()
		file := harness.TasksFile(t, workflowTasks)
		g := harness.Start(t, dir, append([]string{"-procs", "1", "-workers", "1", "-concurrency", "4", "-tasks", file}, where...)...)
		server := func(args ...string) string { return harness.Command(t, dir, append(args, where...)...) }
		running := func(id string) {
			t.Helper()
			testutil.Eventually(t, id+" is running", func() bool {
				var task harness.CommandTask // exists when the previous task has ended
				return harness.SendJSON(t, "GET", g.URL+"/tasks/"+id, "", &task) == http.StatusOK && task.State == "running"
			})
		}
		hold := func(id string) string { return fmt.Sprintf(`{"task":"hold","id":%q}`, id) }
		then := func(id string) string {
			return fmt.Sprintf(`{"task":"say","args":["never"],"immutable":true,"id":%q}`, id)
		}

		harness.PostWorkflow(t, g, `{"chain":[{"task":"say","args":["x"],"id":"c1"},{"task":"hold","immutable":true,"id":"c2"},`+then("c3")+`]}`)
		running("c2")
		wantResponse(t, g, "DELETE", "/workflows/c2", "", http.StatusConflict, `part of workflow "c1"`)
		for range 2 { // the second request completes an interrupted first one
			f := wantResponse(t, g, "DELETE", "/workflows/c1", "", http.StatusOK)
			if f.State != "cancelled" || f.Kind != "chain" || f.FailedTask != "c2" || f.Error != "cancelled with its workflow" || f.Succeeded != 1 {
				t.Errorf("%+v", f)
			}
		}
		wantResponse(t, g, "GET", "/tasks/c3", "", http.StatusNotFound)
		wantResponse(t, g, "POST", "/tasks/c2/retry", "", http.StatusConflict, `workflow "c1" was cancelled`)
		testutil.Eventually(t, "its program has ended", func() bool {
			var page struct{ Tasks []harness.CommandTask }
			harness.GetJSON(t, g.URL+"/tasks?state=running", &page)
			return len(page.Tasks) == 0
		})
		harness.PostTask(t, g, `{"id":"c3","task":"say","args":["free again"]}`)

		harness.PostWorkflow(t, g, `{"id":"g","group":[`+hold("m1")+`,{"task":"hold","id":"m2","countdown":"1h"}],"callback":`+then("cb")+`}`)
		running("m1")
		f := wantResponse(t, g, "DELETE", "/workflows/g", "", http.StatusOK)
		if f.State != "cancelled" || f.Failed != 2 || f.Callback != "cb" {
			t.Errorf("%+v", f)
		}
		for _, id := range []string{"m1", "m2", "cb"} {
			if task := harness.GetTask(t, g, id); task.State != "cancelled" || task.Error != "cancelled with its workflow" {
				t.Errorf("%s is %+v", id, task)
			}
		}

		harness.PostWorkflow(t, g, `{"chain":[`+hold("k1")+`,`+then("k2")+`]}`)
		var w harness.Workflow
		if err := json.Unmarshal([]byte(server("tasks", "cancel", "k1", "-json")), &w); err != nil || w.State != "cancelled" || w.Kind != "chain" {
			t.Errorf("server tasks cancel prints %+v, %v", w, err)
		}
		harness.PostTask(t, g, hold("alone"))
		var task harness.CommandTask
		if err := json.Unmarshal([]byte(server("tasks", "cancel", "alone", "-json")), &task); err != nil || task.State != "cancelled" || task.Error != "cancelled" {
			t.Errorf("server tasks cancel prints %+v, %v", task, err)
		}

		harness.PostWorkflow(t, g, `{"id":"done","group":[{"task":"say","args":["x"]}]}`)
		testutil.Eventually(t, "the workflow ends", func() bool { return wantResponse(t, g, "GET", "/workflows/done", "", 200).State == "success" })
		wantResponse(t, g, "DELETE", "/workflows/done", "", http.StatusConflict, "waits or runs")
		wantResponse(t, g, "DELETE", "/workflows/nobody", "", http.StatusNotFound)
	})
}
