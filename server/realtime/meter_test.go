package realtime_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/fasthttp/websocket"
	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/internal/redistest"
	"github.com/galeserver/gale/internal/sharedtest"
	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/server"
	"github.com/galeserver/gale/server/realtime"
)

// waitForStats waits until ok returns true for the counters. what describes the condition.
func waitForStats(t *testing.T, c *realtime.Counters, what string, ok func(realtime.Stats) bool) {
	t.Helper()
	defer func() {
		if t.Failed() {
			t.Logf("%+v", c.Stats())
		}
	}()
	testutil.Eventually(t, what, func() bool { return ok(c.Stats()) })
}

func TestMeter(t *testing.T) {
	t.Parallel()
	var c realtime.Counters
	finish := make(chan struct{})
	s := open(t, realtime.Options{Meter: &c, PingInterval: 200 * time.Millisecond}, echoes, func(h *realtime.Hub) server.Route {
		return server.Route{Method: "GET", Path: "/wait", Handler: func(ctx *fasthttp.RequestCtx) error {
			return h.Stream(ctx, realtime.EventStream, func(s *realtime.Stream) error {
				s.Every(100*time.Millisecond, []byte("."))
				go func() { // ends with finish
					<-finish
					_ = s.Finish(nil)
				}()
				return s.Send([]byte("hello"))
			})
		}}
	})
	ws := dial(t, s)
	for range 3 {
		if err := ws.WriteMessage(websocket.TextMessage, nil); err != nil {
			t.Fatal(err)
		}
		wantText(t, ws, "")
	}
	stream := get(t, s)
	waitForStats(t, &c, "both are open", func(s realtime.Stats) bool {
		return s.Open[realtime.WebSocket] == 1 && s.Open[realtime.EventStream] == 1 && s.Received == 3
	})
	if _, err := io.ReadFull(stream.Body, make([]byte, 3)); err != nil { // keep-alive data
		t.Fatal(err)
	}
	pinged := make(chan struct{})
	ws.SetPingHandler(func(string) error { close(pinged); return errors.New("enough") })
	_, _, _ = ws.ReadMessage()
	<-pinged
	close(finish)
	waitForStats(t, &c, "the stream has ended", func(s realtime.Stats) bool { return s.Open[realtime.EventStream] == 0 })
	ws.Close()
	waitForStats(t, &c, "the WebSocket has ended", func(s realtime.Stats) bool { return s.Open[realtime.WebSocket] == 0 })
	got := c.Stats()
	// Pings, keep-alive data and the end of a stream do not count as messages.
	if got.Sent != [3]uint64{3, 1, 0} || got.Open != [3]int64{} || got.TooSlow != [3]uint64{} {
		t.Errorf("%+v", got)
	}
}

// A refused connection does not count as open, and a connection whose client disconnects is
// removed from the count.
func TestMeterOfHandshakes(t *testing.T) {
	t.Parallel()
	var c realtime.Counters
	s := open(t, realtime.Options{Meter: &c}, echoes)
	resp, err := http.Get("http://" + s.addr + "/")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	dial(t, s).Close()
	s.stop()
	s.ended(t)
	if got := c.Stats(); got.Open != [3]int64{} {
		t.Errorf("%+v", got)
	}
}

// A slow consumer is counted once.
func TestMeterOfSlowClients(t *testing.T) {
	t.Parallel()
	b := startBus(t, sharedtest.Open(t, sharedtest.StateServer(t)), realtime.BusOptions{History: 3})
	var c realtime.Counters
	form := &realtime.Form{Encode: func(e realtime.Event) []byte { return append([]byte("message"), e.Data...) }}
	s := open(t, realtime.Options{Meter: &c, SendTimeout: time.Second}, func() realtime.Handler {
		return &events{open: func(conn *realtime.Conn) {
			begin := func(realtime.Position) []byte { return []byte("begin") }
			if err := conn.Subscribe(context.Background(), b, realtime.Start{Channel: "a"}, form, begin); err != nil {
				t.Error(err)
			}
		}}
	})
	wantText(t, dial(t, s), "begin") // this client reads nothing more
	data := strings.Repeat("x", 100_000)
	waitForStats(t, &c, "the slow consumer is closed", func(s realtime.Stats) bool {
		publish(t, b, "a", data)
		return s.Open[realtime.WebSocket] == 0
	})
	if got := c.Stats(); got.TooSlow != [3]uint64{1, 0, 0} {
		t.Errorf("%+v", got)
	}
}

func TestMeterOfChannels(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	var c realtime.Counters
	log := new(testutil.LogBuffer)
	b := startBus(t, sharedtest.Open(t, redis.URL()), realtime.BusOptions{Meter: &c, Logger: slog.New(slog.NewTextHandler(log, nil))})
	live := dial(t, open(t, realtime.Options{}, subscribeHandler(b, realtime.Start{Channel: "a"})))
	first, _ := readPosition(t, live)
	publish(t, b, "a", "before")
	if _, text, err := live.ReadMessage(); err != nil {
		t.Fatalf("%q, %v", text, err)
	}
	for since, gaps := range map[uint64]uint64{first: 0, first + 100: 1} {
		before := c.Stats().Gaps[realtime.GapClient]
		again := dial(t, open(t, realtime.Options{}, subscribeHandler(b, realtime.Start{Channel: "a", Resume: true, Since: since})))
		if _, gap := readPosition(t, again); gap != (gaps == 1) || c.Stats().Gaps[realtime.GapClient]-before != gaps {
			t.Errorf("since first+%d: gap %v, %+v", since-first, gap, c.Stats())
		}
		again.Close()
	}
	if got := c.Stats(); got.SubscriptionsLost != 0 || got.Gaps[realtime.GapProcess] != 0 {
		t.Errorf("before Redis was killed: %+v", got)
	}
	redis.Kill()
	testutil.Eventually(t, "the loss is in the log", func() bool { return strings.Contains(log.String(), "trying again") })
	redis.Restart(t)
	testutil.Eventually(t, "the gap is counted", func() bool {
		_, err := b.Publish(context.Background(), "a", []byte("after"))
		return err == nil && c.Stats().Gaps[realtime.GapProcess] > 0
	})
	if got := c.Stats(); got.SubscriptionsLost != 1 {
		t.Errorf("%d lost subscriptions counted, want 1", got.SubscriptionsLost)
	}
}
