package realtime_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/fasthttp/websocket"

	"github.com/galeserver/gale/internal/redistest"
	"github.com/galeserver/gale/test/harness"
)

// Messages and subscriptions that are not allowed are refused with a reason, and no
// subscriber receives anything.
func TestRealtimeRefused(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, t.TempDir(), "-procs", "1", "-workers", "0", "-token", "s3cret", "-max-body", "1000")
	d := websocket.Dialer{Subprotocols: []string{"bearer.s3cret"}}
	follower, _, err := d.Dial(g.SocketURL()+"/channels/a", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer follower.Close()
	const token = "Bearer s3cret"
	for _, row := range []struct {
		method, path, body string
		header             []string
		status             int
		reason             string
	}{
		{"POST", "/publish/a", "x", nil, 401, "bearer token"},
		{"POST", "/publish/a", "x", []string{"Authorization", token, "Origin", "https://evil.example"}, 403, "another origin"},
		{"POST", "/publish/a", "\xff", []string{"Authorization", token}, 400, "UTF-8"},
		{"POST", "/publish/a", strings.Repeat("x", 1001), []string{"Authorization", token}, 413, ""},
		{"POST", "/publish/.broadcast", "x", []string{"Authorization", token}, 400, "a channel is named by"},
		{"POST", "/publish/a%20b", "x", []string{"Authorization", token}, 400, "a channel is named by"},
		{"POST", "/publish/" + strings.Repeat("a", 129), "x", []string{"Authorization", token}, 400, "a channel is named by"},
		{"GET", "/publish/a", "", []string{"Authorization", token}, 405, ""},
		{"GET", "/events/a", "", nil, 401, "bearer token"},
		{"GET", "/events/.broadcast", "", []string{"Authorization", token}, 400, "a channel is named by"},
		{"GET", "/events/a?since=-1", "", []string{"Authorization", token}, 400, "since"},
		{"GET", "/events/a", "", []string{"Authorization", token, "Last-Event-ID", "latest"}, 400, "since"},
		{"GET", "/channels/a", "", []string{"Authorization", token}, 426, "WebSocket"},
		{"GET", "/websocket", "", nil, 426, "WebSocket"},
		{"GET", "/websocket", "", []string{"Origin", "https://evil.example"}, 403, "another origin"},
		{"GET", "/longpoll?s=x", "", nil, 400, "s:"},
		{"GET", "/longpoll?s=-1", "", nil, 400, "s:"},
	} {
		resp, body := harness.Request(t, row.method, g.URL+row.path, row.body, row.header...)
		if resp.StatusCode != row.status || !strings.Contains(body, row.reason) {
			t.Errorf("%s %.40s %.10q %v: %d %s", row.method, row.path, row.body, row.header, resp.StatusCode, body)
		}
	}
	long := harness.Socket(t, g, "/broadcast")
	if _, _, err := long.ReadMessage(); err != nil {
		t.Fatal(err)
	}
	if err := long.WriteMessage(websocket.TextMessage, []byte(strings.Repeat("x", 1001))); err != nil {
		t.Fatal(err)
	}
	if _, text, err := long.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseMessageTooBig) {
		t.Errorf("a broadcast over the limit: %.20q, %v", text, err)
	}
	if resp, body := harness.Request(t, "POST", g.URL+"/publish/a", "accepted", "Authorization", token); resp.StatusCode != http.StatusOK {
		t.Fatalf("%d %s", resp.StatusCode, body)
	}
	if _, text, err := follower.ReadMessage(); err != nil || !strings.Contains(string(text), "subscribed") {
		t.Fatalf("%s, %v", text, err)
	}
	if _, text, err := follower.ReadMessage(); err != nil || !strings.Contains(string(text), `"data":"accepted"`) {
		t.Errorf("the first message is %s, %v", text, err)
	}
}

// Without Redis, publishing and the WebSockets of channels fail at once. An event
// stream ends with a time for the client to reconnect, and a long poll ends with its
// timeout.
func TestRealtimeWithoutRedis(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	g := harness.Start(t, t.TempDir(), "-procs", "1", "-workers", "0", "-redis", redis.URL(), "-broker", "sqlite")
	talker := harness.Socket(t, g, "/broadcast")
	if _, _, err := talker.ReadMessage(); err != nil {
		t.Fatal(err)
	}
	redis.Kill()
	if resp, body := harness.Request(t, "POST", g.URL+"/publish/a", "x"); resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Errorf("publish: %d %s", resp.StatusCode, body)
	}
	if resp, body := harness.Request(t, "GET", g.URL+"/events/a", ""); resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" ||
		!strings.Contains(body, "\nretry: ") || strings.Contains(body, "\nid: ") {
		t.Errorf("events: %d %q", resp.StatusCode, body)
	}
	follower := harness.Socket(t, g, "/channels/a")
	if _, text, err := follower.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseTryAgainLater) {
		t.Errorf("channel: %s, %v", text, err)
	}
	if err := talker.WriteMessage(websocket.TextMessage, []byte("hello?")); err != nil {
		t.Fatal(err)
	}
	if _, text, err := talker.ReadMessage(); err != nil || !strings.HasPrefix(string(text), "Not sent, try again: ") {
		t.Errorf("broadcast: %s, %v", text, err)
	}
	began := time.Now()
	resp, body := harness.Request(t, "GET", g.URL+"/longpoll?s=0.2", "")
	if resp.StatusCode != http.StatusOK || body != "Waiting for data...New data available!" || time.Since(began) < 200*time.Millisecond {
		t.Errorf("long poll: %d %q", resp.StatusCode, body)
	}
}
