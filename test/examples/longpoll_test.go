package examples_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/galeserver/gale/test/harness"
)

// news is the response of longpoll's updates.
type news struct {
	Cursor   uint64
	Messages []struct {
		ID   uint64
		HTML string
	}
}

// A request that waits gets the message that another process publishes. A request with a
// cursor gets the messages after it.
func TestLongpoll(t *testing.T) {
	t.Parallel()
	g := serve(t, "longpoll", "-procs", "2", "-workers", "0")
	if code, body, err := harness.Get(g.URL); err != nil || code != 200 || !strings.Contains(body, "a/message/updates") {
		t.Errorf("page: %d, %v", code, err)
	}
	updates := func(cursor uint64) (n news) {
		if code := harness.SendJSON(t, http.MethodPost, g.URL+"/a/message/updates", fmt.Sprintf(`{"cursor":%d}`, cursor), &n); code != http.StatusOK {
			t.Errorf("updates after %d: %d", cursor, code)
		}
		return n
	}
	const clients = 8 // so that each process has some
	waiting := make(chan news, clients)
	for range clients {
		go func() { waiting <- updates(0) }()
	}
	b := harness.NewBrowser(t, g)
	var id uint64
	for i := range 3 {
		_, text := b.Expect("POST", "/a/message/new", "same-origin", fmt.Sprintf("body=%%3Cb%%3E%d", i), 200)
		if _, err := fmt.Sscanf(text, `{"id":%d}`, &id); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
	for range clients {
		n := <-waiting
		if len(n.Messages) == 0 || n.Cursor != n.Messages[len(n.Messages)-1].ID || !strings.Contains(n.Messages[0].HTML, "&lt;b&gt;0</div>") {
			t.Errorf("a client that waited received %+v", n)
		}
	}
	cursor := id - 3
	for _, want := range []string{"&lt;b&gt;0", "&lt;b&gt;1", "&lt;b&gt;2"} {
		n := updates(cursor)
		if len(n.Messages) == 0 || !strings.Contains(n.Messages[0].HTML, want) {
			t.Fatalf("after %d: %+v, want %s", cursor, n, want)
		}
		cursor = n.Messages[0].ID
	}
	// A client whose number is higher than that of the last message gets the messages that
	// follow. It has such a number when the channel has been lost and begins anew.
	go func() { waiting <- updates(id + 1_000_000_000_000) }()
	published := make(chan struct{})
	stop := make(chan struct{})
	go func() { // until the client has subscribed
		defer close(published)
		for {
			select {
			case <-stop:
				return
			default:
				b.Expect("POST", "/a/message/new", "same-origin", "body=later", 200)
			}
		}
	}()
	if n := <-waiting; len(n.Messages) == 0 || n.Cursor <= id || n.Cursor > id+1_000_000 || !strings.Contains(n.Messages[0].HTML, "later") {
		t.Errorf("a cursor of the future: %+v", n)
	}
	close(stop)
	<-published
	for body, want := range map[string]string{"body=+": "body must have between", "text=x": "body is missing", "body=" + strings.Repeat("x", 5000): "body must have between"} {
		if _, text := b.Expect("POST", "/a/message/new", "same-origin", body, 400); !strings.Contains(text, want) {
			t.Errorf("%.20s: %s, want %s", body, text, want)
		}
	}
	b.Expect("POST", "/a/message/new", "cross-site", "body=x", 403)
	b.Expect("POST", "/a/message/updates", "same-origin", "cursor=-1", 400)
}

// A client that waits gets an empty list when the server drains, not a broken connection.
func TestLongpollDrains(t *testing.T) {
	t.Parallel()
	g := serve(t, "longpoll", "-procs", "1", "-workers", "0")
	conn, err := net.Dial("tcp", strings.TrimPrefix(g.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const body = `{"cursor":0}`
	fmt.Fprintf(conn, "POST /a/message/updates HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n", len(body))
	from := bufio.NewReader(conn)
	if line, err := from.ReadString('\n'); err != nil || !strings.HasPrefix(line, "HTTP/1.1 100") {
		t.Fatalf("%q, %v", line, err)
	}
	if _, err := from.ReadString('\n'); err != nil { // the end of the interim response
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte(body)); err != nil {
		t.Fatal(err)
	}
	if err := g.Cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(from, nil)
	if err != nil {
		t.Fatal(err)
	}
	if text := harness.ReadAll(t, resp); resp.StatusCode != http.StatusOK || !strings.HasSuffix(text, `,"messages":[]}`) {
		t.Errorf("%d %s", resp.StatusCode, text)
	}
}
