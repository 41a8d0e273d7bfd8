package realtime_test

import (
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fasthttp/websocket"

	"gale/server/realtime"
)

// At the end all clients are closed with 1012, spread over time; new ones are
// refused, and who does not answer is cut off.
func TestDrain(t *testing.T) {
	t.Parallel()
	var closed atomic.Int64
	log := new(logBuffer)
	s := open(t, realtime.Options{Grace: 2 * time.Second, Logger: slog.New(slog.NewTextHandler(log, nil))}, func() realtime.Handler {
		return &events{closed: func(int, string) { closed.Add(1) }}
	})
	const clients = 100
	var at [clients]time.Time
	var all sync.WaitGroup
	for i := range clients {
		c := dial(t, s)
		all.Go(func() {
			if _, _, err := c.ReadMessage(); !websocket.IsCloseError(err, 1012) {
				t.Errorf("client %d: %v", i, err)
			}
			at[i] = time.Now()
		})
	}
	dial(t, s) // it never reads
	eventually(t, "all are there", func() bool { return s.hub.Len() == clients+1 })
	s.stop()
	eventually(t, "new ones are refused", func() bool {
		c, resp, err := websocket.DefaultDialer.Dial("ws://"+s.addr, nil)
		if err == nil {
			c.Close()
		}
		return err != nil && resp != nil && resp.StatusCode == http.StatusServiceUnavailable
	})
	all.Wait()
	s.ended(t)
	first, last := at[0], at[0]
	for _, when := range at {
		if when.Before(first) {
			first = when
		}
		if when.After(last) {
			last = when
		}
	}
	if spread := last.Sub(first); spread < 200*time.Millisecond {
		t.Errorf("all were closed within %v", spread)
	}
	if !strings.Contains(log.String(), `msg="long-lived connections cut off" connections=1`) {
		t.Errorf("log: %s", log)
	}
	if n := closed.Load(); n != clients+1 {
		t.Errorf("Closed was called %d times", n)
	}
}
