package realtime_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/fasthttp/websocket"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/test/harness"
)

// channelClient follows a channel through restarts, as a client should: it connects
// again at once, with the number of its last message.
type channelClient struct {
	url      string
	seq      atomic.Uint64
	received atomic.Int64
	gaps     atomic.Int64
	wrong    atomic.Pointer[string]
	next     int          // number of the next message
	moved    atomic.Int64 // time of its first disconnect, Unix time in milliseconds
}

func (c *channelClient) follow(ctx context.Context, ready func()) {
	for ctx.Err() == nil {
		url := c.url
		if seq := c.seq.Load(); seq > 0 {
			url += fmt.Sprintf("?since=%d", seq)
		}
		conn, _, err := websocket.DefaultDialer.DialContext(ctx, url, nil)
		if err != nil {
			select {
			case <-ctx.Done():
			case <-time.After(20 * time.Millisecond):
			}
			continue
		}
		stop := context.AfterFunc(ctx, func() { conn.Close() }) // ends the read
		c.read(conn, ready)
		stop()
		conn.Close()
		c.moved.CompareAndSwap(0, time.Now().UnixMilli())
	}
}

func (c *channelClient) read(conn *websocket.Conn, ready func()) {
	for {
		_, text, err := conn.ReadMessage()
		if err != nil {
			return
		}
		var note struct {
			Seq   uint64
			Event string
			Gap   bool
			Data  *string
		}
		if err := json.Unmarshal(text, &note); err != nil {
			return
		}
		if note.Gap {
			c.gaps.Add(1)
		}
		if note.Data != nil {
			if want := fmt.Sprint(c.next); *note.Data != want {
				wrong := fmt.Sprintf("got %q, want %q", *note.Data, want)
				c.wrong.CompareAndSwap(nil, &wrong)
			}
			c.next++
			c.received.Add(1)
		}
		c.seq.Store(note.Seq)
		if note.Event == "subscribed" && ready != nil {
			ready()
			ready = nil
		}
	}
}

// During a rolling restart the clients of channels resume. Every client receives every
// message once, with Redis and with the embedded state server, and they do not all
// connect again at the same time.
func TestReloadMovesChannelClients(t *testing.T) {
	t.Parallel()
	harness.OnStateServers(t, func(t *testing.T, flags []string) { reloadUnder(t, 300, flags) })
}

// reloadUnder replaces the children of a server while clients follow a channel.
func reloadUnder(t *testing.T, clients int, flags []string) {
	t.Helper()
	g := harness.Start(t, t.TempDir(), append(flags, "-procs", "2", "-workers", "0")...)
	ctx, cancel := context.WithCancel(t.Context())
	var following, ready sync.WaitGroup
	all := make([]*channelClient, clients)
	ready.Add(clients)
	for i := range all {
		all[i] = &channelClient{url: g.SocketURL() + "/channels/restart"}
		following.Go(func() { all[i].follow(ctx, sync.OnceFunc(ready.Done)) }) // ends with ctx
	}
	ready.Wait()
	before := g.Slots(t)
	if err := g.Cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	published := 0
	publish := func() {
		resp, err := http.Post(g.URL+"/publish/restart", "text/plain", strings.NewReader(fmt.Sprint(published)))
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("publish: %v, %+v", err, resp)
		}
		resp.Body.Close()
		published++
	}
	testutil.Eventually(t, "the serve children are replaced", func() bool {
		publish()
		return g.ServeSlotsReplaced(t, before)
	})
	// A child that is replaced still closes connections when the new process is live.
	testutil.Eventually(t, "every client has connected again", func() bool {
		publish()
		return !slices.ContainsFunc(all, func(c *channelClient) bool { return c.moved.Load() == 0 })
	})
	testutil.Eventually(t, "all clients have all messages", func() bool {
		for _, c := range all {
			if c.received.Load() < int64(published) && c.wrong.Load() == nil {
				return false
			}
		}
		return true
	})
	cancel()
	following.Wait()
	first, last := all[0].moved.Load(), all[0].moved.Load()
	for i, c := range all {
		if wrong := c.wrong.Load(); wrong != nil || c.received.Load() != int64(published) || c.gaps.Load() != 0 {
			t.Fatalf("client %d received %d of %d, gaps %d, %v", i, c.received.Load(), published, c.gaps.Load(), wrong)
		}
		first, last = min(first, c.moved.Load()), max(last, c.moved.Load())
	}
	if last-first < 500 {
		t.Errorf("all clients were disconnected within %d ms", last-first)
	}
	t.Logf("%d messages, %d clients, disconnected within %d ms", published, clients, last-first)
}

// An event stream sends what is published, resumes, and reports a gap.
func TestEvents(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, t.TempDir(), "-procs", "2", "-workers", "0")
	stream := func(header string) (*bufio.Scanner, func()) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.URL+"/events/e", nil)
		if err != nil {
			t.Fatal(err)
		}
		if header != "" {
			req.Header.Set("Last-Event-ID", header)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil || resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" {
			t.Fatalf("%+v, %v", resp, err)
		}
		return bufio.NewScanner(resp.Body), func() { resp.Body.Close() }
	}
	find := func(lines *bufio.Scanner, want string) (id string) {
		t.Helper()
		for lines.Scan() {
			if number, ok := strings.CutPrefix(lines.Text(), "id: "); ok {
				id = number
			}
			if strings.HasPrefix(lines.Text(), want) {
				return id
			}
		}
		t.Fatalf("no line %q: %v", want, lines.Err())
		return ""
	}
	publish := func(text string) {
		t.Helper()
		resp, err := http.Post(g.URL+"/publish/e", "text/plain", strings.NewReader(text))
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%+v, %v", resp, err)
		}
		resp.Body.Close()
	}
	lines, end := stream("")
	find(lines, "data: ")
	publish("one\r\ntwo")
	id := find(lines, "data: one")
	find(lines, "data: two")
	end()
	publish("three")
	lines, end = stream(id)
	find(lines, "data: three")
	end()
	lines, end = stream("17")
	find(lines, `data: {"channel":"e",`)
	if !strings.Contains(lines.Text(), `"gap":true`) {
		t.Errorf("resumed from a number that does not exist: %s", lines.Text())
	}
	find(lines, "data: one") // messages in the history are still sent
	end()
}

func TestLongPoll(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, t.TempDir(), "-procs", "2", "-workers", "0")
	const waiting, all = "Waiting for data...", "Waiting for data...New data available!"
	began := time.Now()
	if code, body, err := harness.Get(g.URL + "/longpoll?s=0.3"); err != nil || code != 200 || body != all || time.Since(began) < 300*time.Millisecond {
		t.Errorf("%d %q, %v", code, body, err)
	}
	if code, body, err := harness.Get(g.URL + "/longpoll?s=61"); err != nil || code != 400 || !strings.Contains(body, "not a time from 0 to 1m0s") {
		t.Errorf("%d %q, %v", code, body, err)
	}
	const clients = 50
	var begun, ended sync.WaitGroup
	begun.Add(clients)
	for range clients {
		ended.Go(func() { // ends with the response
			resp, err := http.Get(g.URL + "/longpoll?s=60")
			if err != nil {
				t.Error(err)
				begun.Done()
				return
			}
			defer resp.Body.Close()
			first := make([]byte, len(waiting))
			if _, err := resp.Body.Read(first); err != nil || string(first) != waiting {
				t.Errorf("%q, %v", first, err)
			}
			begun.Done()
			if rest := harness.ReadAll(t, resp); rest != "New data available!" {
				t.Errorf("%q", rest)
			}
		})
	}
	begun.Wait()
	began = time.Now()
	resp, err := http.Post(g.URL+"/publish/news", "text/plain", strings.NewReader("there is"))
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%+v, %v", resp, err)
	}
	resp.Body.Close()
	ended.Wait()
	if took := time.Since(began); took > 30*time.Second { // after 60 s they end without a message
		t.Errorf("the long polls ended %v after the message", took)
	}
}
