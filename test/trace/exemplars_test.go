package trace_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/test/harness"
)

// The histograms of /metrics lead to a trace of a request and of the attempt that followed
// it, also after the process of the request has been killed.
func TestExemplars(t *testing.T) {
	collector := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
	defer collector.Close()
	tasks := harness.TasksFile(t, "[tasks.greet]\nargv = [\"echo\", \"hello\"]\n")
	g := harness.Start(t, t.TempDir(), "-workers", "1", "-procs", "1", "-tasks", tasks,
		"-trace", strings.Replace(collector.URL, "http://", "otlp://", 1), "-trace-sample", "0")
	const id = "4bf92f3577b34da6a3ce929d0e0e4736"
	post, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.URL+"/tasks", strings.NewReader(`{"task":"greet","id":"greeting"}`))
	if err != nil {
		t.Fatal(err)
	}
	post.Header.Set("Traceparent", "00-"+id+"-00f067aa0ba902b7-01") // the only sampled trace
	resp, err := http.DefaultClient.Do(post)
	if err != nil {
		t.Fatal(err)
	}
	if _ = resp.Body.Close(); resp.StatusCode != http.StatusAccepted {
		t.Fatal(resp.Status)
	}
	harness.AwaitTask(t, g, "greeting")

	metrics := func() string {
		get, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+g.Admin+"/metrics", nil)
		if err != nil {
			t.Fatal(err)
		}
		get.Header.Set("Accept", "application/openmetrics-text; version=1.0.0")
		resp, err := http.DefaultClient.Do(get)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		text, err := io.ReadAll(resp.Body)
		if err != nil || !strings.HasPrefix(resp.Header.Get("Content-Type"), "application/openmetrics-text") {
			t.Fatal(resp.Header.Get("Content-Type"), err)
		}
		return string(text)
	}
	example := ` # \{trace_id="` + id + `"\} [0-9.e-]+ [0-9.e+]+\n`
	ofRequest := regexp.MustCompile(`gale_http_request_duration_seconds_bucket\{slot="serve\.0",le="[^"]+"\} [1-9]\d*` + example)
	ofAttempt := regexp.MustCompile(`gale_task_duration_seconds_bucket\{outcome="succeeded",slot="worker\.0",task="greet",le="[^"]+"\} 1` + example)
	testutil.Eventually(t, "both histograms have the trace", func() bool {
		got := metrics()
		return ofRequest.MatchString(got) && ofAttempt.MatchString(got) && strings.HasSuffix(got, "\n# EOF\n")
	})
	if n := strings.Count(metrics(), "trace_id"); n != 2 {
		t.Errorf("%d examples, want 2", n)
	}
	before := g.Slots(t)["serve.0"].PID
	if err := syscall.Kill(before, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	testutil.Eventually(t, "another process serves", func() bool { s := g.Slots(t)["serve.0"]; return s.PID != before && s.State == "live" })
	if !ofRequest.MatchString(metrics()) {
		t.Error("the trace is lost with its process")
	}
}
