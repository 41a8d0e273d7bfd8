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

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/server/realtime"
)

// When the context of Run ends, all connections are closed with 1012 and new ones are
// refused.
func TestDrain(t *testing.T) {
	t.Parallel()
	var closed atomic.Int64
	log := new(testutil.LogBuffer)
	s := open(t, realtime.Options{Grace: time.Minute, Logger: slog.New(slog.NewTextHandler(log, nil))}, func() realtime.Handler {
		return &events{closed: func(int, string) { closed.Add(1) }}
	})
	const clients = 100
	var all sync.WaitGroup
	for i := range clients {
		c := dial(t, s)
		all.Go(func() {
			if _, _, err := c.ReadMessage(); !websocket.IsCloseError(err, 1012) {
				t.Errorf("client %d: %v", i, err)
			}
		})
	}
	testutil.Eventually(t, "all connections are open", func() bool { return s.hub.Len() == clients })
	s.stop()
	testutil.Eventually(t, "new connections are refused", func() bool {
		c, resp, err := websocket.DefaultDialer.Dial("ws://"+s.addr, nil)
		if err == nil {
			c.Close()
		}
		return err != nil && resp != nil && resp.StatusCode == http.StatusServiceUnavailable
	})
	all.Wait()
	s.ended(t)
	if strings.Contains(log.String(), "aborted") {
		t.Errorf("log: %s", log)
	}
	if n := closed.Load(); n != clients {
		t.Errorf("Closed was called %d times", n)
	}
}

// A client that does not respond is disconnected at the end of the grace period.
func TestDrainAborts(t *testing.T) {
	t.Parallel()
	log := new(testutil.LogBuffer)
	codes := make(chan int, 1)
	s := open(t, realtime.Options{Grace: time.Second, Logger: slog.New(slog.NewTextHandler(log, nil))}, func() realtime.Handler {
		return &events{closed: func(code int, _ string) { codes <- code }}
	})
	dial(t, s) // never reads
	testutil.Eventually(t, "the connection is open", func() bool { return s.hub.Len() == 1 })
	s.stop()
	s.ended(t)
	if code := <-codes; code != 1012 {
		t.Errorf("closed with %d", code)
	}
	if !strings.Contains(log.String(), `msg="long-lived connections aborted" connections=1`) {
		t.Errorf("log: %s", log)
	}
}
