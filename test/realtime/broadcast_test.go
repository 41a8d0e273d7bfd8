package realtime_test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fasthttp/websocket"

	"github.com/galeserver/gale/internal/redistest"
	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/test/harness"
)

const listeners = 400

// racedListeners are enough for the race detector, with which 400 clients in one
// process read so slowly that they answer no ping in time.
const racedListeners = 100

// listener is a client of /broadcast: it notes what it heard, per sender.
type listener struct {
	conn  *websocket.Conn
	name  string // as a sender
	sent  int
	heard atomic.Int64
	fault atomic.Pointer[string]
	own   chan struct{}  // one for each of its own messages
	last  map[string]int // of each sender; of the goroutine that reads
}

func (l *listener) fail(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	l.fault.CompareAndSwap(nil, &text)
}

// read takes messages `SENDER N …` until the connection ends.
func (l *listener) read() {
	for {
		_, text, err := l.conn.ReadMessage()
		if err != nil {
			l.fail("%v", err) // if the test is over nobody looks
			return
		}
		var sender string
		var n int
		if _, err := fmt.Sscanf(string(text[:min(len(text), 100)]), "Broadcast: %s %d", &sender, &n); err != nil {
			l.fail("%.80q", text)
			return
		}
		if want := l.last[sender] + 1; n != want {
			l.fail("of sender %s: %d, want %d", sender, n, want)
		}
		l.last[sender] = n
		l.heard.Add(1)
		if sender == l.name {
			l.own <- struct{}{}
		}
	}
}

// send sends messages with size bytes of padding, each when the one before has
// come back.
func (l *listener) send(count, size int) error {
	for range count {
		l.sent++
		text := fmt.Sprintf("%s %d %s", l.name, l.sent, strings.Repeat("x", size))
		if err := l.conn.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
			return err
		}
		select {
		case <-l.own:
		case <-time.After(time.Minute):
			return fmt.Errorf("message %d of %s does not come back", l.sent, l.name)
		}
	}
	return nil
}

// listen connects all clients, to the servers in turn.
func listen(t *testing.T, servers []*harness.Server) (all []*listener) {
	t.Helper()
	n := listeners
	if harness.RaceEnabled {
		n = racedListeners
	}
	for i := range n {
		l := &listener{
			conn: harness.Socket(t, servers[i%len(servers)], "/broadcast"), name: fmt.Sprint("s", i),
			own: make(chan struct{}, 1), last: map[string]int{},
		}
		if _, text, err := l.conn.ReadMessage(); err != nil || string(text) != "Connected to Broadcast WebSocket server!" {
			t.Fatalf("%q, %v", text, err)
		}
		all = append(all, l)
		go l.read() // ends with the connection, which the cleanup closes
	}
	return all
}

// round has the first so many clients send, and all hear all of it.
func round(t *testing.T, all []*listener, senders, each, size int) {
	t.Helper()
	var sending sync.WaitGroup
	for _, l := range all[:senders] {
		sending.Go(func() {
			if err := l.send(each, size); err != nil {
				t.Error(err)
			}
		})
	}
	sending.Wait()
	var want int64
	for _, l := range all {
		want += int64(l.sent)
	}
	testutil.Eventually(t, "all hear all", func() bool {
		for _, l := range all {
			if l.heard.Load() < want && l.fault.Load() == nil {
				return false
			}
		}
		return true
	})
	for i, l := range all {
		if fault := l.fault.Load(); fault != nil {
			t.Fatalf("client %d heard %d of %d: %s", i, l.heard.Load(), want, *fault)
		}
		if n := l.heard.Load(); n != want {
			t.Fatalf("client %d heard %d of %d", i, n, want)
		}
	}
}

// Two servers that share a Redis, 200 clients on each, 1,000 messages of 10
// senders: everyone hears each of them once and in its sender's order, and again
// after Redis was killed. Beside them is a client that never reads. It is paused for
// longer than this test waits for anything, so nobody can have waited for it.
func TestBroadcast(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	flags := []string{"-procs", "4", "-workers", "0", "-redis", redis.URL(), "-ws-send-timeout", "10m"}
	servers := []*harness.Server{harness.Start(t, t.TempDir(), flags...), harness.Start(t, t.TempDir(), flags...)}
	narrow(t, servers[0], "/broadcast") // it never reads
	all := listen(t, servers)
	round(t, all, 1, 120, 32<<10) // more than what stands between it and the server holds
	round(t, all, 10, 100, 0)
	redis.Kill()
	redis.Restart(t)
	// Each of the eight children notices by itself; one that has not would answer
	// a sender "Not sent".
	for _, g := range servers {
		testutil.Eventually(t, "all have subscribed again", func() bool {
			return strings.Count(g.Log.String(), "channels: subscribed again") >= 4
		})
		testutil.Eventually(t, "the gap is in the log", func() bool {
			return strings.Contains(g.Log.String(), "channels: messages lost")
		})
	}
	round(t, all, 10, 100, 0)
	for i, g := range servers {
		if strings.Contains(g.Log.String(), "slow consumer") {
			t.Errorf("server %d closed a client as too slow", i)
		}
	}
}
