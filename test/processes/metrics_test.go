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

// neverLess compares the sums over all slots of what only ever grows.
func neverLess(t *testing.T, before, after harness.Metrics) {
	t.Helper()
	for name, f := range before {
		if f.GetType() != dto.MetricType_GAUGE && after.Sum(name) < before.Sum(name) {
			t.Errorf("%s fell from %v to %v", name, before.Sum(name), after.Sum(name))
		}
	}
}

// Requests on /metrics are those that clients had answered, while children are
// killed, replaced by reloads, removed and added; no sum ever falls.
func TestMetricsThroughKillsAndReloads(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, t.TempDir(), "-procs", "3", "-workers", "1")
	addr := strings.TrimPrefix(g.URL, "http://")
	const clients = 8
	var answered, lost atomic.Int64
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
					answered.Add(1)
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
			if after == nil { // a reload closes the connection that is being answered
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
		testutil.Eventually(t, "a successor of "+slot, replaced(slot, victim))
	}
	_ = g.Cmd.Process.Signal(syscall.SIGTTOU)
	testutil.Eventually(t, "a slot is removed", func() bool { return strings.Contains(g.Log.String(), `msg="slot removed" slot=serve.2`) })
	removed := g.Metrics(t).Sum("gale_http_requests_total", "slot=serve.2")
	for range 2 { // the first brings the slot back
		reloads := strings.Count(g.Log.String(), "msg=reloaded")
		_ = g.Cmd.Process.Signal(syscall.SIGHUP)
		testutil.Eventually(t, "the reload is through", func() bool { return strings.Count(g.Log.String(), "msg=reloaded") > reloads })
	}
	if got := g.Metrics(t).Sum("gale_http_requests_total", "slot=serve.2"); removed == 0 || got < removed {
		t.Errorf("serve.2 had %v requests when it was removed, and %v when it is back", removed, got)
	}

	close(stop)
	load.Wait()
	close(watched)
	watcher.Wait()
	end := g.Metrics(t)
	counted := int64(end.Sum("gale_http_requests_total", "method=GET", "code=200"))
	t.Logf("%d answered, %d lost with the six that were killed, %d counted, %d scrapes", answered.Load(), lost.Load(), counted, scrapes)
	// A request that a child had counted when it was killed may not have been answered.
	if counted < answered.Load() || counted > answered.Load()+lost.Load() || answered.Load() < 500 || scrapes < 20 {
		t.Errorf("%d requests are counted, of %d answered and %d lost", counted, answered.Load(), lost.Load())
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
	if got := end.Sum("gale_connections_accepted_total") + end.Sum("gale_connections_adopted_total"); int64(got) < answered.Load() {
		t.Errorf("%v connections for %d answers", got, answered.Load())
	}
}

// A child that is stopped holds up nobody who looks at figures, and its own
// are there.
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
		t.Error("the stopped child's own figures are missing")
	}
}

// Queues are counted where they are, once, with what waits in them.
func TestMetricsOfQueues(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, t.TempDir(), "-procs", "1", "-workers", "0")
	for range 3 {
		harness.StartTask(t, g, "x")
	}
	testutil.Eventually(t, "three wait", func() bool {
		s := g.Metrics(t)
		return s.Sum("gale_queue_tasks", "queue=default", "state=waiting") == 3 && s.Sum("gale_queue_oldest_seconds") > 0
	})
	testutil.Eventually(t, "they are counted as enqueued", func() bool {
		return g.Metrics(t).Sum("gale_task_events_total", "event=enqueued", "task=long_running_task") == 3
	})
}
