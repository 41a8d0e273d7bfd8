package realtime_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/fasthttp/websocket"
	"github.com/redis/go-redis/v9"

	"github.com/galeserver/gale/internal/redistest"
	"github.com/galeserver/gale/internal/sharedtest"
	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/server/realtime"
)

// startBus runs a bus until the test ends.
func startBus(t *testing.T, client redis.UniversalClient, o realtime.BusOptions) *realtime.Bus {
	t.Helper()
	b := realtime.NewBus(client, o)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(patience):
			t.Error("Bus.Run does not return")
		}
	})
	return b
}

// fullForm is a form that encodes all fields of an event.
var fullForm = &realtime.Form{Encode: func(e realtime.Event) []byte {
	if e.Gap {
		return fmt.Appendf(nil, "gap %d", e.Seq)
	}
	return fmt.Appendf(nil, "%d %.20s", e.Seq, e.Data)
}}

// subscribeHandler returns handlers that subscribe to one channel and announce the position,
// which readPosition reads.
func subscribeHandler(b *realtime.Bus, start realtime.Start) func() realtime.Handler {
	return func() realtime.Handler {
		return &events{open: func(c *realtime.Conn) {
			announce := func(p realtime.Position) []byte { return fmt.Appendf(nil, "%d %v", p.Seq, p.Gap) }
			if err := c.Subscribe(context.Background(), b, start, fullForm, announce); err != nil {
				c.Close(1013, err.Error())
			}
		}}
	}
}

// readPosition reads the position that subscribeHandler announces.
func readPosition(t *testing.T, c *websocket.Conn) (seq uint64, gap bool) {
	t.Helper()
	_, text, err := c.ReadMessage()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscan(string(text), &seq, &gap); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return seq, gap
}

func publish(t *testing.T, b *realtime.Bus, channel, data string) uint64 {
	t.Helper()
	seq, err := b.Publish(t.Context(), channel, []byte(data))
	if err != nil {
		t.Fatal(err)
	}
	return seq
}

// Subscribers get the messages of all processes, and resume in any of them. Each bus is that
// of one process.
func TestChannel(t *testing.T) {
	t.Parallel()
	sharedtest.Each(t, func(t *testing.T, address string) {
		here := startBus(t, sharedtest.Open(t, address), realtime.BusOptions{History: 5})
		there := startBus(t, sharedtest.Open(t, address), realtime.BusOptions{History: 5})
		live := dial(t, open(t, realtime.Options{}, subscribeHandler(here, realtime.Start{Channel: "a"})))
		first, gap := readPosition(t, live)
		if gap {
			t.Error("a gap at the beginning")
		}
		for i := range uint64(10) {
			if seq := publish(t, there, "a", fmt.Sprint("m", i)); seq != first+1+i {
				t.Fatalf("number %d, want %d", seq, first+1+i)
			}
			publish(t, there, "b", "of another channel")
			wantText(t, live, fmt.Sprintf("%d m%d", first+1+i, i))
		}
		for name, c := range map[string]struct {
			since, begins uint64
			gap           bool
			gets          int // number of messages received
		}{
			"the last message":          {first + 10, first + 10, false, 0},
			"two missed":                {first + 8, first + 8, false, 2},
			"all messages kept":         {first + 5, first + 5, false, 5},
			"more messages than kept":   {first + 4, first + 5, true, 5},
			"a number before the first": {1, first + 5, true, 5},
			"a number after the last":   {first + 1000, first + 10, true, 0},
		} {
			for process, b := range map[string]*realtime.Bus{"here": here, "there": there} {
				c2 := dial(t, open(t, realtime.Options{}, subscribeHandler(b, realtime.Start{Channel: "a", Resume: true, Since: c.since})))
				if seq, gap := readPosition(t, c2); seq != c.begins || gap != c.gap {
					t.Errorf("%s, %s: begins at first+%d, gap %v", name, process, seq-first, gap)
				}
				for i := 10 - c.gets; i < 10; i++ {
					wantText(t, c2, fmt.Sprintf("%d m%d", first+1+uint64(i), i))
				}
				c2.Close()
			}
		}
		testutil.Eventually(t, "there are no subscribers left", func() bool { return len(there.Channels()) == 0 })
	})
}

// A client resumes in a process that has not yet received the last message that the client
// has. The client gets no gap.
func TestResumeAheadOfProcess(t *testing.T) {
	t.Parallel()
	address := sharedtest.StateServer(t)
	idle := realtime.NewBus(sharedtest.Open(t, address), realtime.BusOptions{}) // Run is not called
	there := startBus(t, sharedtest.Open(t, address), realtime.BusOptions{})
	first, _ := readPosition(t, dial(t, open(t, realtime.Options{}, subscribeHandler(idle, realtime.Start{Channel: "a"}))))
	publish(t, there, "a", "one")
	seq := publish(t, there, "a", "two")
	c := dial(t, open(t, realtime.Options{}, subscribeHandler(idle, realtime.Start{Channel: "a", Resume: true, Since: seq - 1})))
	if at, gap := readPosition(t, c); at != seq-1 || gap {
		t.Errorf("begins at first+%d, gap %v", at-first, gap)
	}
	wantText(t, c, fmt.Sprintf("%d two", seq))
}

// A channel is kept for the given time. If Redis has evicted its messages, their bytes are
// no longer counted.
func TestPublishFor(t *testing.T) {
	t.Parallel()
	client := sharedtest.Open(t, redistest.Start(t).URL())
	b := startBus(t, client, realtime.BusOptions{HistoryBytes: 10})
	for _, keep := range []time.Duration{time.Minute, 0} {
		if _, err := b.PublishFor(t.Context(), "a", []byte("12345"), keep); err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{"gale:channel:{a}:state", "gale:channel:{a}:log"} {
			// A key that is kept for one second may have expired by now.
			if left := client.PTTL(t.Context(), key).Val(); left == -1 || left > max(keep, time.Second) || keep > 0 && left <= 0 {
				t.Errorf("%s is kept for %v, want %v", key, left, keep)
			}
		}
	}
	client.Del(t.Context(), "gale:channel:{a}:log")
	for range 2 {
		if _, err := b.Publish(t.Context(), "a", []byte("12345")); err != nil {
			t.Fatal(err)
		}
	}
	if kept := client.LLen(t.Context(), "gale:channel:{a}:log").Val(); kept != 2 {
		t.Errorf("%d messages are kept, want the two that fit in 10 bytes", kept)
	}
}

// A new subscription prolongs the history of a channel by the time that its last message was
// published with.
func TestSubscribeKeepsRetention(t *testing.T) {
	t.Parallel()
	client := sharedtest.Open(t, redistest.Start(t).URL())
	b := startBus(t, client, realtime.BusOptions{})
	if _, err := b.PublishFor(t.Context(), "a", []byte("one"), time.Hour); err != nil {
		t.Fatal(err)
	}
	keys := []string{"gale:channel:{a}:state", "gale:channel:{a}:log"}
	for _, key := range keys {
		client.Expire(t.Context(), key, time.Minute)
	}
	readPosition(t, dial(t, open(t, realtime.Options{}, subscribeHandler(b, realtime.Start{Channel: "a"}))))
	for _, key := range keys {
		if left := client.PTTL(t.Context(), key).Val(); left <= time.Minute || left > time.Hour {
			t.Errorf("%s is kept for %v after a subscription, want up to an hour", key, left)
		}
	}
}

func TestPublishRefused(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	b := startBus(t, sharedtest.Open(t, redis.URL()), realtime.BusOptions{})
	for _, name := range []string{"", "a b", "ü", "a/b", "{a}", strings.Repeat("x", 129)} {
		if _, err := b.Publish(t.Context(), name, nil); !errors.Is(err, realtime.ErrChannel) {
			t.Errorf("%q: %v", name, err)
		}
	}
	redis.Kill()
	if _, err := b.Publish(t.Context(), "a", nil); !errors.Is(err, realtime.ErrAway) {
		t.Errorf("without Redis: %v", err)
	}
}

// Redis is killed and loses its data, or is only stopped. Clients stay connected and continue
// after their last message. If messages are lost, they get a gap.
func TestRedisRecovers(t *testing.T) {
	t.Parallel()
	for _, way := range []string{"killed", "stopped"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			redis := redistest.Start(t)
			log := new(testutil.LogBuffer)
			b := startBus(t, sharedtest.Open(t, redis.URL()), realtime.BusOptions{Logger: slog.New(slog.NewTextHandler(log, nil))})
			c := dial(t, open(t, realtime.Options{}, subscribeHandler(b, realtime.Start{Channel: "a"})))
			first, _ := readPosition(t, c)
			publish(t, b, "a", "before")
			wantText(t, c, fmt.Sprintf("%d before", first+1))
			if way == "killed" {
				redis.Kill()
				redis.Restart(t)
			} else {
				redis.Stop(t)
				testutil.Eventually(t, "the loss is logged", func() bool { return strings.Contains(log.String(), "subscription lost") })
				redis.Continue(t)
			}
			testutil.Eventually(t, "the bus is subscribed again", func() bool { return strings.Contains(log.String(), "subscribed again") })
			seq := publish(t, b, "a", "after")
			if lost := strings.Contains(log.String(), "messages lost"); lost != (way == "killed") {
				t.Errorf("log: %s", log)
			}
			if way == "killed" {
				wantText(t, c, fmt.Sprintf("gap %d", seq-1))
			}
			wantText(t, c, fmt.Sprintf("%d after", seq))
		})
	}
}

// dataForm is a form that encodes only the data, and no gaps.
var dataForm = &realtime.Form{Encode: func(e realtime.Event) []byte {
	if e.Gap {
		return nil
	}
	return []byte(e.Data)
}}

// dataHandler returns handlers that send "begin" and subscribe to channel a. If codes is not
// nil, they send the close code of the connection to it.
func dataHandler(t *testing.T, b *realtime.Bus, codes chan<- int) func() realtime.Handler {
	return func() realtime.Handler {
		return &events{
			open: func(c *realtime.Conn) {
				announce := func(realtime.Position) []byte { return []byte("begin") }
				if err := c.Subscribe(context.Background(), b, realtime.Start{Channel: "a"}, dataForm, announce); err != nil {
					t.Error(err)
				}
			},
			closed: func(code int, _ string) {
				if codes != nil {
					codes <- code
				}
			},
		}
	}
}

// A slow consumer is closed after SendTimeout. Until then it delays no other
// subscriber: each message is read by all others before the next one is published.
func TestSlowSubscriber(t *testing.T) {
	t.Parallel()
	b := startBus(t, sharedtest.Open(t, sharedtest.StateServer(t)), realtime.BusOptions{})
	log := new(testutil.LogBuffer)
	codes := make(chan int, 3)
	s := open(t, realtime.Options{SendTimeout: time.Second, Logger: slog.New(slog.NewTextHandler(log, nil))}, dataHandler(t, b, codes))
	wantText(t, dial(t, s), "begin") // this client reads nothing more
	readers := []*websocket.Conn{dial(t, s), dial(t, s)}
	for _, c := range readers {
		wantText(t, c, "begin")
	}
	data := strings.Repeat("x", 100_000)
	for range 300 { // far more than the socket buffers of the slow client
		publish(t, b, "a", data)
		for _, c := range readers {
			wantText(t, c, data)
		}
	}
	select {
	case code := <-codes:
		if code != 1013 {
			t.Errorf("closed with %d", code)
		}
	case <-time.After(patience):
		t.Fatal("the slow client is still connected")
	}
	if n := s.hub.Len(); n != 2 {
		t.Errorf("%d connections are left", n)
	}
	if !strings.Contains(log.String(), "slow consumer, connection closed") {
		t.Errorf("log: %s", log)
	}
}

// If a client misses messages that are no longer kept, and its form cannot encode a gap, its
// connection is closed. So no message is lost without notice.
func TestGapThatCannotBeEncoded(t *testing.T) {
	t.Parallel()
	b := startBus(t, sharedtest.Open(t, sharedtest.StateServer(t)), realtime.BusOptions{History: 3})
	codes := make(chan int, 1)
	s := open(t, realtime.Options{}, dataHandler(t, b, codes))
	c := dial(t, s)
	wantText(t, c, "begin")
	data := strings.Repeat("x", 100_000)
	for i := range 300 {
		publish(t, b, "a", fmt.Sprint(i, " ", data))
	}
	for next := 0; ; next++ {
		_, text, err := c.ReadMessage()
		if err != nil {
			if !websocket.IsCloseError(err, 1013) || next == 300 {
				t.Errorf("after %d messages: %v", next, err)
			}
			if code := <-codes; code != 1013 {
				t.Errorf("Closed was called with close code %d", code)
			}
			return
		}
		if !strings.HasPrefix(string(text), fmt.Sprint(next, " ")) {
			t.Fatalf("got message %.20q, want %d", text, next)
		}
	}
}
