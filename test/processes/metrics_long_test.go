package processes_test

import (
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/fasthttp/websocket"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/test/harness"
)

// WebSockets, streams, limits, caches and uploads are counted in /metrics, and the
// counters continue after a child was killed.
func TestMetricsOfLongConnections(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, t.TempDir(), "-procs", "1", "-workers", "1", "-max-conns", "30")
	await := func(what string, want map[string]float64) {
		t.Helper()
		testutil.Eventually(t, what, func() bool {
			s := g.Metrics(t)
			for name, n := range want {
				name, label, _ := strings.Cut(name, " ")
				if got := s.Sum(name, strings.Fields(label)...); got != n {
					t.Logf("%s: %s %s is %v, not yet %v", what, name, label, got, n)
					return false
				}
			}
			return true
		})
	}
	await("all counters are 0", map[string]float64{
		"gale_realtime_connections": 0, "gale_realtime_messages_sent_total": 0, "gale_connections_refused_total": 0, "gale_limit_requests_total": 0,
	})

	ws := harness.Socket(t, g, "/websocket")
	if err := ws.WriteMessage(websocket.TextMessage, []byte("x")); err != nil {
		t.Fatal(err)
	}
	events, err := http.Get(g.URL + "/events/a?since=1")
	if err != nil {
		t.Fatal(err)
	}
	defer events.Body.Close()
	if code, body, err := harness.Get(g.URL + "/longpoll?s=0.1"); code != http.StatusOK || err != nil {
		t.Fatalf("%d, %q, %v", code, body, err)
	}
	for range 3 {
		if _, _, err := harness.Get(g.URL + "/cached"); err != nil {
			t.Fatal(err)
		}
	}
	testutil.Eventually(t, "a request is limited", func() bool {
		code, _, err := harness.Get(g.URL + "/limited")
		return err == nil && code == http.StatusTooManyRequests
	})
	upload := harness.Upload(t, g, "speech", "demo/inspect/testdata/speech.wav")
	harness.AwaitTask(t, g, upload.Files[0].Task)
	await("each counter has its value", map[string]float64{
		"gale_realtime_connections kind=websocket": 1, "gale_realtime_connections kind=event_stream": 1, "gale_realtime_connections kind=long_poll": 0,
		"gale_realtime_messages_received_total": 1, "gale_realtime_messages_sent_total kind=websocket": 2, // the welcome and the echo
		"gale_realtime_messages_sent_total kind=event_stream": 2, "gale_realtime_messages_sent_total kind=long_poll": 2,
		"gale_channel_gaps_total lost_to=client": 1, "gale_channel_gaps_total lost_to=process": 0,
		"gale_limit_requests_total outcome=refused": 1, "gale_limit_requests_total outcome=unanswered": 0,
		"gale_cache_requests_total outcome=miss": 1, "gale_cache_requests_total outcome=hit": 2,
		"gale_upload_duration_seconds code=200": 1, "gale_task_duration_seconds task=inspect outcome=succeeded slot=worker.0": 1,
	})

	for range 40 {
		nc, err := net.Dial("tcp", strings.TrimPrefix(g.URL, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
	}
	testutil.Eventually(t, "refusals are counted", func() bool {
		return g.Metrics(t).Sum("gale_connections_refused_total", "limit=server") >= 10
	})
	_ = syscall.Kill(g.Slots(t)["store.0"].PID, syscall.SIGKILL)
	testutil.Eventually(t, "the lost subscription is counted", func() bool {
		return g.Metrics(t).Sum("gale_channel_subscriptions_lost_total") > 0
	})

	before := g.Metrics(t)
	for _, slot := range []string{"serve.0", "worker.0"} {
		victim := g.Slots(t)[slot].PID
		_ = syscall.Kill(victim, syscall.SIGKILL)
		testutil.Eventually(t, slot+" has a new process", func() bool {
			now := g.Slots(t)[slot]
			return now.PID != victim && now.State == "live"
		})
	}
	await("no connection is counted", map[string]float64{"gale_realtime_connections": 0})
	neverLess(t, before, g.Metrics(t))
}
