//go:build e2e

package trace_test

import (
	"encoding/binary"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/test/harness"
)

// TestE2ETrace sends the spans of servers and workers to the receiver of an OpenTelemetry
// Collector.
func TestE2ETrace(t *testing.T) {
	program := buildCollector(t)
	t.Run("upload", func(t *testing.T) { traceOfUpload(t, startCollector(t, program)) })
	t.Run("worker program", func(t *testing.T) { traceOfProgram(t, startCollector(t, program)) })
	t.Run("command", func(t *testing.T) { traceOfCommand(t, startCollector(t, program)) })
	t.Run("sampling", func(t *testing.T) { sampledTraces(t, startCollector(t, program)) })
}

// wavFile makes a sound file of silence and returns its path.
func wavFile(t *testing.T, size uint32) string {
	t.Helper()
	head := []byte("RIFF....WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x44\xac\x00\x00\x88\x58\x01\x00\x02\x00\x10\x00data....")
	binary.LittleEndian.PutUint32(head[4:], 36+size)
	binary.LittleEndian.PutUint32(head[40:], size)
	path := filepath.Join(t.TempDir(), fmt.Sprintf("silence%d.wav", size))
	if err := os.WriteFile(path, head, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, int64(len(head))+int64(size)); err != nil {
		t.Fatal(err)
	}
	return path
}

// traceOfUpload uploads a file, and kills the worker while it inspects the file. One trace has
// the request, the file, the task and the attempt that succeeds.
func traceOfUpload(t *testing.T, c collector) {
	g := harness.Start(t, t.TempDir(), "-workers", "1", "-procs", "1", "-trace", c.url)
	// A fast worker may end the task before it is killed. Then the file was too small.
	for size := uint32(64 << 20); ; size *= 2 {
		if size > 256<<20 {
			t.Fatal("the worker inspects 256 MiB before it can be killed")
		}
		id := harness.Upload(t, g, "sounds", wavFile(t, size)).Files[0].Task
		var task harness.Task
		testutil.Eventually(t, "the task runs", func() bool {
			harness.GetJSON(t, g.URL+"/tasks/"+id, &task)
			return task.State != "queued"
		})
		if err := syscall.Kill(g.Slots(t)["worker.0"].PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if task = harness.AwaitTask(t, g, id); task.State != "success" {
			t.Fatalf("task %+v", task)
		}
		if task.Attempts > 1 {
			checkUpload(t, c, g, id)
			return
		}
	}
}

func checkUpload(t *testing.T, c collector, g *harness.Server, id string) {
	t.Helper()
	run := c.await(t, "the attempt", func(s span) bool { return s.attribute("gale.task.id") == id && s.Kind == kindConsumer })
	if run.Name != "run inspect" || run.attribute("gale.task.attempt") != "2" || run.attribute("gale.task.outcome") != "success" ||
		run.attribute("gale.task.queue") != "default" || !strings.HasSuffix(run.attribute("gale.worker"), "worker.0") || run.slot != "worker.0" || run.Status.Code != 0 {
		t.Errorf("attempt %+v", run)
	}
	if len(run.Events) != 1 || run.Events[0].Name != "attempt lost" || valueOf(run.Events[0].Attributes, "gale.task.lost") != "1" {
		t.Errorf("events of the attempt: %+v", run.Events)
	}
	path := c.path(t, run)
	if len(path) < 4 || path[0] != "POST /upload" || path[len(path)-2] != "enqueue inspect" || path[len(path)-1] != "run inspect" {
		t.Errorf("spans from the root to the attempt: %q", path)
	}
	root := c.await(t, "the request", func(s span) bool { return s.TraceID == run.TraceID && s.ParentSpanID == "" })
	if root.Kind != kindServer || root.slot != "serve.0" {
		t.Errorf("root %+v", root)
	}
	count := 0
	for _, s := range c.spans(t) {
		if s.TraceID == run.TraceID && s.Kind == kindConsumer {
			count++
		}
	}
	if count != 1 {
		t.Errorf("%d spans of attempts, want one: the other was killed", count)
	}
	testutil.Eventually(t, "the log has the trace", func() bool {
		for line := range strings.Lines(g.Log.String()) {
			if strings.Contains(line, "task ended") && strings.Contains(line, "id="+id) {
				return strings.Contains(line, "trace="+run.TraceID)
			}
		}
		return false
	})
}

// traceOfProgram follows a trace through a worker program in Python to a task that it
// enqueues with the client, and to the one that follows its task.
func traceOfProgram(t *testing.T, c collector) {
	dir := t.TempDir()
	app := `import os
import gale

app = gale.App()


@app.task
def first(job: gale.Job) -> list:
    gale.Client(os.environ["GALE_URL"]).enqueue("start", id="called", wait_for_worker=True)
    job.next(start.call().with_options(id="next"))
    return [job.headers["traceparent"], os.environ["TRACEPARENT"]]


@app.task
def start() -> None:
    pass
`
	if err := os.WriteFile(filepath.Join(dir, "traced.py"), []byte(app), 0o600); err != nil {
		t.Fatal(err)
	}
	source, err := filepath.Abs("clients/python/src")
	if err != nil {
		t.Fatal(err)
	}
	tasks := harness.TasksFile(t, fmt.Sprintf("[workers.py]\nargv = [\"python3\", \"-B\", \"-m\", \"gale\", \"worker\", \"traced:app\", \"-c\", \"1\"]\nenv = [\"PYTHONPATH=%s\"]\ndir = %q\n", source, dir))
	g := harness.Start(t, t.TempDir(), "-workers", "1", "-procs", "2", "-tasks", tasks, "-trace", c.url)
	harness.PostTask(t, g, `{"task":"first","id":"first","wait_for_worker":true}`)
	for _, id := range []string{"first", "called", "next"} {
		if task := harness.AwaitTask(t, g, id); task.State != "success" {
			t.Fatalf("task %s: %+v", id, task)
		}
	}
	attempt := c.await(t, "the attempt", ended("run first"))
	result := string(harness.AwaitTask(t, g, "first").Result)
	if n := strings.Count(result, "00-"+attempt.TraceID+"-"+attempt.SpanID+"-01"); n != 2 {
		t.Errorf("the task was in the spans %s, its attempt is %+v", result, attempt)
	}
	if path := c.path(t, attempt); !slices.Equal(path, []string{"POST /tasks", "enqueue first", "run first"}) {
		t.Errorf("spans from the root to the attempt: %q", path)
	}
	for id, want := range map[string][]string{"called": {"POST /tasks", "enqueue start", "run start"}, "next": {"run start"}} {
		s := c.await(t, "the attempt of "+id, func(s span) bool { return s.Name == "run start" && s.attribute("gale.task.id") == id })
		if path := c.path(t, s); s.TraceID != attempt.TraceID || !slices.Equal(path[3:], want) {
			t.Errorf("%s: spans from the root to the attempt: %q", id, path)
		}
	}
}

// traceOfCommand checks that a command task has the span of its attempt, and that a caller's
// trace is continued.
func traceOfCommand(t *testing.T, c collector) {
	tasks := harness.TasksFile(t, `[tasks.show]
argv = ["sh", "-c", "echo $TRACEPARENT,$TRACESTATE"]`)
	g := harness.Start(t, t.TempDir(), "-workers", "1", "-procs", "1", "-tasks", tasks, "-trace", c.url)
	const trace, caller = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	resp, body := harness.Request(t, "POST", g.URL+"/tasks", `{"task":"show","id":"show"}`, "traceparent", "00-"+trace+"-"+caller+"-01", "tracestate", "shop=1")
	if resp.StatusCode != http.StatusAccepted {
		t.Fatalf("%d %s", resp.StatusCode, body)
	}
	task := harness.AwaitTask(t, g, "show")
	run := c.await(t, "the attempt", ended("run show"))
	if !strings.Contains(string(task.Result), "00-"+trace+"-"+run.SpanID+"-01,shop=1") || run.TraceID != trace {
		t.Errorf("the command has printed %s, its attempt is %+v", task.Result, run)
	}
	enqueued := c.await(t, "the producer", func(s span) bool { return s.SpanID == run.ParentSpanID })
	request := c.await(t, "the request", func(s span) bool { return s.TraceID == trace && s.Kind == kindServer })
	if enqueued.Kind != kindProducer || enqueued.ParentSpanID != request.SpanID || request.ParentSpanID != caller {
		t.Errorf("request %+v, enqueued %+v", request, enqueued)
	}
}

// sampledTraces makes 200 requests of which a tenth is sampled, and requests and tasks that
// fail, of which every one must arrive.
func sampledTraces(t *testing.T, c collector) {
	const requests, failures = 200, 20
	tasks := harness.TasksFile(t, "[tasks.fail]\nargv = [\"sh\", \"-c\", \"exit 1\"]\n")
	g := harness.Start(t, t.TempDir(), "-workers", "1", "-procs", "2", "-tasks", tasks, "-trace", c.url, "-trace-sample", "0.1",
		"-fetch-url", "http://127.0.0.1:"+harness.FreePort(t)+"/")
	for range requests {
		if code, _, err := harness.Get(g.URL + "/"); err != nil || code != http.StatusOK {
			t.Fatal(code, err)
		}
	}
	for i := range failures {
		if code, body, err := harness.Get(g.URL + "/fetch"); err != nil || code < 500 {
			t.Fatal(code, body, err)
		}
		harness.PostTask(t, g, fmt.Sprintf(`{"task":"fail","id":"fail-%d"}`, i))
	}
	for i := range failures {
		harness.AwaitTask(t, g, fmt.Sprintf("fail-%d", i))
	}
	count := func(name string, status int) (n int) {
		for _, s := range c.spans(t) {
			if s.Name == name && s.Status.Code == status {
				n++
			}
		}
		return n
	}
	testutil.Eventually(t, "the collector has every failure", func() bool {
		return count("run fail", statusError) == failures && count("GET /fetch", statusError) == failures
	})
	// A clean end sends what is left.
	if err := g.Cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	if got := count("GET /", 0); got < 4 || got > 45 { // 20 with a standard deviation of 4.2
		t.Errorf("%d of %d requests are sampled", got, requests)
	}
}
