package app

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
	"go.opentelemetry.io/otel"

	"github.com/galeserver/gale/internal/otlptest"
	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/server"
)

// tracedApp has routes and a task that a trace can lead through.
func tracedApp() Application {
	return Application{
		Name: "shop", Version: "1.2.3",
		Tasks: []jobs.Definition{{
			Name: "look", Args: []jobs.Arg{{Name: "directory", Type: jobs.ArgString}, {Name: "filename", Type: jobs.ArgString}},
			Handler: func(context.Context, *jobs.Job) error { return nil },
		}},
		Routes: func(s *Services) ([]server.Route, error) {
			return []server.Route{{Method: "GET", Path: "/own/{name}", Handler: func(ctx *fasthttp.RequestCtx) error {
				_, span := otel.Tracer("shop").Start(ctx, "own work")
				span.End()
				s.Log.InfoContext(ctx, "own line")
				return nil
			}}, {Method: "GET", Path: "/broken", Handler: func(*fasthttp.RequestCtx) error { return io.ErrUnexpectedEOF }}}, nil
		},
	}
}

// startTraced starts the application with a receiver of spans, and returns its URL.
func startTraced(t *testing.T, args ...string) (url string, r *otlptest.Receiver, log *testutil.LogBuffer) {
	t.Helper()
	r = otlptest.New(t)
	log, stop := startSingle(t, tracedApp(), append([]string{"-trace", r.URL}, args...)...)
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	log.Await(t, "msg=ready")
	return regexp.MustCompile(` url=(\S+)`).FindStringSubmatch(log.String())[1], r, log
}

func get(t *testing.T, url string, fields ...string) int {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(fields); i += 2 {
		request.Header.Set(fields[i], fields[i+1])
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	return response.StatusCode
}

// The trace of a client goes through the request, the upload and the enqueue step into the
// task.
func TestTraceOfUpload(t *testing.T) {
	const client, span = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	url, r, _ := startTraced(t, "-on-upload", "look")
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	part, err := form.CreateFormFile("photos", "a.jpg")
	if err == nil {
		_, err = part.Write([]byte("content"))
	}
	if err != nil || form.Close() != nil {
		t.Fatal(err)
	}
	request := httptest.NewRequest(http.MethodPost, url+"/upload", &body)
	request.RequestURI = ""
	request.Header.Set("Content-Type", form.FormDataContentType())
	request.Header.Set("Traceparent", "00-"+client+"-"+span+"-01")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var result struct{ Files []struct{ Task string } }
	if err := json.NewDecoder(response.Body).Decode(&result); err != nil || len(result.Files) != 1 {
		t.Fatalf("%+v, %v", result, err)
	}
	root, store, enqueue := r.Await(t, "POST /upload"), r.Await(t, "store file"), r.Await(t, "enqueue look")
	if root.TraceID != client || root.ParentID != span || store.ParentID != root.SpanID || enqueue.ParentID != store.SpanID {
		t.Errorf("spans: %+v", r.Spans())
	}
	if a := store.Attributes; a["gale.file.directory"] != "photos" || a["gale.file.name"] != "a.jpg" || a["gale.file.size"] != "7" {
		t.Errorf("attributes of the file: %v", a)
	}
	if a := root.Resource; a["service.name"] != "shop" || a["service.version"] != "1.2.3" || a["gale.slot"] != "serve.0" || a["host.name"] == "" {
		t.Errorf("resource: %v", a)
	}
	page, err := http.Get(url + "/tasks/" + result.Files[0].Task)
	if err != nil {
		t.Fatal(err)
	}
	defer page.Body.Close()
	var task struct{ Trace string }
	if err := json.NewDecoder(page.Body).Decode(&task); err != nil || task.Trace != client {
		t.Errorf("task: %+v, %v", task, err)
	}
}

// Of 200 requests about a tenth are sampled, and each failed one is sent.
func TestTraceSample(t *testing.T) {
	url, r, log := startTraced(t, "-trace-sample", "0.1")
	const total, failing = 200, 10
	for i := range total {
		if i%(total/failing) == 0 {
			if got := get(t, url+"/broken"); got != 500 {
				t.Fatalf("status %d", got)
			}
		} else if got := get(t, url+"/tasks/types"); got != 200 {
			t.Fatalf("status %d", got)
		}
	}
	testutil.Eventually(t, "each failed request has been sent", func() bool {
		return strings.Count(names(r), "GET /broken ") == failing
	})
	if n := strings.Count(names(r), "GET /tasks/types "); n < 3 || n > 50 { // 19 on average, with a standard deviation of 4.1
		t.Errorf("%d of %d requests are sampled", n, total-failing)
	}
	failed := r.Await(t, "GET /broken")
	if !failed.Error || !strings.Contains(log.String(), "trace="+failed.TraceID) {
		t.Errorf("failed request: %+v", failed)
	}
}

// names returns the names of the spans, each with a space after it.
func names(r *otlptest.Receiver) (all string) {
	for _, s := range r.Spans() {
		all += s.Name + " "
	}
	return all
}

// OpenTelemetry's own functions work in a handler, and its log lines have the trace.
func TestOwnSpans(t *testing.T) {
	url, r, log := startTraced(t)
	if got := get(t, url+"/own/x"); got != 200 {
		t.Fatalf("status %d", got)
	}
	root, own := r.Await(t, "GET /own/{name}"), r.Await(t, "own work")
	if own.ParentID != root.SpanID || own.TraceID != root.TraceID {
		t.Errorf("spans: %+v", r.Spans())
	}
	log.Await(t, `msg="own line" slot=serve.0 run=1 trace=`+root.TraceID)
}

// The last spans are sent when the server ends.
func TestLastSpans(t *testing.T) {
	r := otlptest.New(t)
	log, stop := startSingle(t, tracedApp(), "-trace", r.URL)
	log.Await(t, "msg=ready")
	get(t, regexp.MustCompile(` url=(\S+)`).FindStringSubmatch(log.String())[1]+"/own/x")
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if got := names(r); !strings.Contains(got, "GET /own/{name}") {
		t.Errorf("spans: %s", got)
	}
}

func TestFlushDeadline(t *testing.T) {
	now := time.Now()
	for _, row := range []struct {
		drained time.Duration // since the drain began; negative: it has not
		grace   time.Duration
		want    time.Duration // from now
	}{
		{-1, 30 * time.Second, 5 * time.Second},
		{time.Second, 30 * time.Second, 5 * time.Second},
		{28 * time.Second, 30 * time.Second, time.Second},
		{900 * time.Millisecond, time.Second, 50 * time.Millisecond},
	} {
		leaving := int64(0)
		if row.drained >= 0 {
			leaving = now.Add(-row.drained).UnixNano()
		}
		if got := flushDeadline(now, leaving, row.grace).Sub(now).Round(time.Millisecond); got != row.want {
			t.Errorf("%+v: %v", row, got)
		}
	}
}
