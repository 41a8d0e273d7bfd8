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

// racedListeners is the number of clients under the race detector: 400 clients in one
// process would read so slowly that they miss pings.
const racedListeners = 100

// listener is a client of /broadcast. It counts the messages of each sender.
type listener struct {
	conn     *websocket.Conn
	name     string // its name in messages
	sent     int
	received atomic.Int64
	fault    atomic.Pointer[string]
	own      chan struct{}  // receives a value for each of its own messages
	last     map[string]int // number of the last message by sender; owned by read
}

func (l *listener) fail(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	l.fault.CompareAndSwap(nil, &text)
}

// read receives messages `SENDER N …` until the connection is closed.
func (l *listener) read() {
	for {
		_, text, err := l.conn.ReadMessage()
		if err != nil {
			l.fail("%v", err) // ignored after the end of the test
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
		l.received.Add(1)
		if sender == l.name {
			l.own <- struct{}{}
		}
	}
}

// send sends messages with size bytes of padding. It waits until it has received its
// message before it sends the next one.
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
			return fmt.Errorf("message %d of %s is not received", l.sent, l.name)
		}
	}
	return nil
}

// listen connects all clients, to each server in turn.
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
		go l.read() // ends when the cleanup closes the connection
	}
	return all
}

// round lets the first clients send messages, and waits until all clients have
// received all of them.
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
	testutil.Eventually(t, "all clients have all messages", func() bool {
		for _, l := range all {
			if l.received.Load() < want && l.fault.Load() == nil {
				return false
			}
		}
		return true
	})
	for i, l := range all {
		if fault := l.fault.Load(); fault != nil {
			t.Fatalf("client %d received %d of %d: %s", i, l.received.Load(), want, *fault)
		}
		if n := l.received.Load(); n != want {
			t.Fatalf("client %d received %d of %d", i, n, want)
		}
	}
}

// Two servers share a Redis, with 200 clients each. 10 senders send 1,000 messages.
// Every client receives each message once, in the order of its sender, and again
// after Redis was killed. A slow consumer, which never reads, does not delay them: the
// server allows it a longer pause than this test waits for anything.
func TestBroadcast(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	flags := []string{"-procs", "4", "-workers", "0", "-redis", redis.URL(), "-ws-send-timeout", "10m"}
	servers := []*harness.Server{harness.Start(t, t.TempDir(), flags...), harness.Start(t, t.TempDir(), flags...)}
	narrow(t, servers[0], "/broadcast") // the slow consumer
	all := listen(t, servers)
	round(t, all, 1, 120, 32<<10) // more than the buffers between the server and the slow consumer hold
	round(t, all, 10, 100, 0)
	redis.Kill()
	redis.Restart(t)
	// Each of the eight children subscribes again by itself. Until then it responds
	// "Not sent" to senders.
	for _, g := range servers {
		testutil.Eventually(t, "every child has subscribed again", func() bool {
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
