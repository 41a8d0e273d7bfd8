package processes_test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/test/harness"
)

// neverLess checks that no counter, as the sum over all slots, has decreased. The last bit
// of such a sum depends on the order of the slots in the response, which reloads change.
func neverLess(t *testing.T, before, after harness.Metrics) {
	t.Helper()
	const lastBits = 1e-12
	for name, f := range before {
		if f.GetType() != dto.MetricType_GAUGE && after.Sum(name) < before.Sum(name)*(1-lastBits) {
			t.Errorf("%s fell from %v to %v", name, before.Sum(name), after.Sum(name))
		}
	}
}

// The requests in /metrics are those that got responses, while children are killed,
// replaced by reloads, removed and added. No sum ever decreases.
func TestMetricsThroughKillsAndReloads(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, t.TempDir(), "-procs", "3", "-workers", "1")
	addr := strings.TrimPrefix(g.URL, "http://")
	const clients = 8
	var responses, lost atomic.Int64
	stop := make(chan struct{})
	var load sync.WaitGroup
	for range clients {
		load.Go(func() { // ends with stop
			for {
				select {
				case <-stop:
					return
				case <-time.After(2 * time.Millisecond):
				}
				if exchange(addr) == nil {
					responses.Add(1)
				} else {
					lost.Add(1)
				}
			}
		})
	}
	watched := make(chan struct{})
	scrapes := 0
	var watcher sync.WaitGroup
	watcher.Go(func() { // ends with watched
		for before := g.Metrics(t); ; scrapes++ {
			select {
			case <-watched:
				return
			case <-time.After(50 * time.Millisecond):
			}
			after := g.TryMetrics()
			if after == nil { // a reload closes the connection of the request
				continue
			}
			neverLess(t, before, after)
			before = after
		}
	})
	harness.Upload(t, g, "speech", "demo/inspect/testdata/speech.wav")
	testutil.Eventually(t, "the upload is published", func() bool { return g.Metrics(t).Sum("gale_upload_bytes_total") == 257656 })

	replaced := func(slot string, pid int) func() bool {
		return func() bool {
			now := g.Slots(t)[slot]
			return now.PID != pid && now.State == "live"
		}
	}
	for i := range 6 {
		slot := fmt.Sprintf("serve.%d", i%3)
		victim := g.Slots(t)[slot].PID
		_ = syscall.Kill(victim, syscall.SIGKILL)
		testutil.Eventually(t, slot+" has a new process", replaced(slot, victim))
	}
	_ = g.Cmd.Process.Signal(syscall.SIGTTOU)
	testutil.Eventually(t, "a slot is removed", func() bool { return strings.Contains(g.Log.String(), `msg="slot removed" slot=serve.2`) })
	removed := g.Metrics(t).Sum("gale_http_requests_total", "slot=serve.2")
	for range 2 { // the first reload adds the slot again
		reloads := strings.Count(g.Log.String(), "msg=reloaded")
		_ = g.Cmd.Process.Signal(syscall.SIGHUP)
		testutil.Eventually(t, "the reload is done", func() bool { return strings.Count(g.Log.String(), "msg=reloaded") > reloads })
	}
	if got := g.Metrics(t).Sum("gale_http_requests_total", "slot=serve.2"); removed == 0 || got < removed {
		t.Errorf("serve.2 had %v requests when it was removed, and %v after it was added again", removed, got)
	}

	close(stop)
	load.Wait()
	close(watched)
	watcher.Wait()
	end := g.Metrics(t)
	counted := int64(end.Sum("gale_http_requests_total", "method=GET", "code=200"))
	t.Logf("%d responses, %d requests lost in six kills, %d counted, %d scrapes", responses.Load(), lost.Load(), counted, scrapes)
	// A child may be killed after it has counted a request and before it has responded.
	if counted < responses.Load() || counted > responses.Load()+lost.Load() || responses.Load() < 500 || scrapes < 20 {
		t.Errorf("%d requests are counted, %d got responses and %d were lost", counted, responses.Load(), lost.Load())
	}
	for name, want := range map[string]float64{
		"gale_upload_bytes_total": 257656, "gale_upload_duration_seconds": 1, "gale_slot_restarts_total": 6,
		"gale_reload_failed": 0, "gale_queues_up": 1,
	} {
		if got := end.Sum(name); got != want {
			t.Errorf("%s is %v; want %v", name, got, want)
		}
	}
	if got := end.Sum("gale_reloads_total", "outcome=done"); got != 2 {
		t.Errorf("%v reloads", got)
	}
	if got := end.Sum("gale_http_request_duration_seconds"); got != end.Sum("gale_http_requests_total") {
		t.Errorf("%v durations of %v requests", got, end.Sum("gale_http_requests_total"))
	}
	if got := end.Sum("gale_connections_accepted_total") + end.Sum("gale_connections_adopted_total"); int64(got) < responses.Load() {
		t.Errorf("%v connections for %d responses", got, responses.Load())
	}
}

// A stopped child does not block /metrics, and its own counters are in the
// response.
func TestMetricsOfAStoppedChild(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, t.TempDir(), "-procs", "2", "-workers", "1")
	for range 20 {
		if err := exchange(strings.TrimPrefix(g.URL, "http://")); err != nil {
			t.Fatal(err)
		}
	}
	before := g.Metrics(t)
	for slot, s := range g.Slots(t) {
		if s.Role != "serve" {
			continue
		}
		if err := syscall.Kill(s.PID, syscall.SIGSTOP); err != nil {
			t.Fatalf("%s: %v", slot, err)
		}
		defer syscall.Kill(s.PID, syscall.SIGCONT)
	}
	after := g.Metrics(t)
	neverLess(t, before, after)
	if n := after.Sum("gale_http_requests_total"); n != 20 {
		t.Errorf("%v requests", n)
	}
	if after.Sum("go_goroutines", "slot=serve.0") == 0 {
		t.Error("the counters of the stopped child are missing")
	}
}

// Queues and enqueued tasks are counted, once for all processes.
func TestMetricsOfQueues(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, t.TempDir(), "-procs", "1", "-workers", "0")
	for range 3 {
		harness.StartTask(t, g, "x")
	}
	testutil.Eventually(t, "three tasks are queued", func() bool {
		s := g.Metrics(t)
		return s.Sum("gale_queue_tasks", "queue=default", "state=waiting") == 3 && s.Sum("gale_queue_oldest_seconds") > 0
	})
	testutil.Eventually(t, "three tasks are counted as enqueued", func() bool {
		return g.Metrics(t).Sum("gale_task_events_total", "event=enqueued", "task=long_running_task") == 3
	})
}
