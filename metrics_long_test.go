package main

import (
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/fasthttp/websocket"
)

// What lives long, is limited or is kept is counted, from the handlers to
// /metrics, and goes on after kill -9.
func TestMetricsOfLongConnections(t *testing.T) {
	t.Parallel()
	g := start(t, t.TempDir(), "-procs", "1", "-workers", "1", "-max-conns", "30")
	moves := func(what string, want map[string]float64) {
		t.Helper()
		eventually(t, what, func() bool {
			s := g.scrape(t)
			for name, n := range want {
				name, label, _ := strings.Cut(name, " ")
				if got := s.sum(name, strings.Fields(label)...); got != n {
					t.Logf("%s: %s %s is %v, not yet %v", what, name, label, got, n)
					return false
				}
			}
			return true
		})
	}
	moves("all begin at nothing", map[string]float64{
		"gale_realtime_connections": 0, "gale_realtime_messages_sent_total": 0, "gale_connections_refused_total": 0, "gale_limit_requests_total": 0,
	})

	ws := socket(t, g, "/websocket")
	if err := ws.WriteMessage(websocket.TextMessage, []byte("x")); err != nil {
		t.Fatal(err)
	}
	events, err := http.Get(g.url + "/events/a?since=1")
	if err != nil {
		t.Fatal(err)
	}
	defer events.Body.Close()
	if code, body, err := get(g.url + "/longpoll?s=0.1"); code != http.StatusOK || err != nil {
		t.Fatalf("%d, %q, %v", code, body, err)
	}
	for range 3 {
		if _, _, err := get(g.url + "/cached"); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "one is too many", func() bool {
		code, _, err := get(g.url + "/limited")
		return err == nil && code == http.StatusTooManyRequests
	})
	answer := upload(t, g, "speech", "testdata/speech.wav")
	awaitTask(t, g, answer.Files[0].Task)
	moves("each has moved", map[string]float64{
		"gale_realtime_connections kind=websocket": 1, "gale_realtime_connections kind=event_stream": 1, "gale_realtime_connections kind=long_poll": 0,
		"gale_realtime_messages_received_total": 1, "gale_realtime_messages_sent_total kind=websocket": 2, // the welcome and the echo
		"gale_realtime_messages_sent_total kind=event_stream": 2, "gale_realtime_messages_sent_total kind=long_poll": 2,
		"gale_channel_gaps_total lost_to=client": 1, "gale_channel_gaps_total lost_to=process": 0,
		"gale_limit_requests_total outcome=refused": 1, "gale_limit_requests_total outcome=unanswered": 0,
		"gale_cache_requests_total outcome=miss": 1, "gale_cache_requests_total outcome=hit": 2,
		"gale_upload_duration_seconds code=200": 1, "gale_task_duration_seconds task=inspect outcome=succeeded slot=worker.0": 1,
	})

	for range 40 {
		nc, err := net.Dial("tcp", strings.TrimPrefix(g.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
	}
	eventually(t, "refusals are counted", func() bool {
		return g.scrape(t).sum("gale_connections_refused_total", "limit=server") >= 10
	})
	_ = syscall.Kill(g.slots(t)["store.0"].PID, syscall.SIGKILL)
	eventually(t, "the lost subscription is counted", func() bool {
		return g.scrape(t).sum("gale_channel_subscriptions_lost_total") > 0
	})

	before := g.scrape(t)
	for _, slot := range []string{"serve.0", "worker.0"} {
		victim := g.slots(t)[slot].PID
		_ = syscall.Kill(victim, syscall.SIGKILL)
		eventually(t, "a successor of "+slot, func() bool {
			now := g.slots(t)[slot]
			return now.PID != victim && now.State == "live"
		})
	}
	moves("nobody is connected any more", map[string]float64{"gale_realtime_connections": 0})
	neverLess(t, before, g.scrape(t))
}
