//go:build e2e

package proxies_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fasthttp/websocket"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/test/harness"
)

func TestE2EProxies(t *testing.T) {
	for proxy := range proxies {
		t.Run(proxy, func(t *testing.T) {
			c := startCluster(t, proxy)
			t.Run("pages", func(t *testing.T) { proxiedPages(t, c) })
			t.Run("sockets", func(t *testing.T) { proxiedSockets(t, c) })
			t.Run("uploads", func(t *testing.T) { proxiedUploads(t, c) })
			t.Run("client and scheme", func(t *testing.T) { proxiedClient(t, c) })
			t.Run("redirect", func(t *testing.T) { redirected(t, c) })
			t.Run("static", func(t *testing.T) { proxiedStatic(t, c, proxy) })
			t.Run("rolling restart", func(t *testing.T) { rollingRestart(t, c) })
		})
	}
}

func proxiedPages(t *testing.T, c *cluster) {
	for _, row := range []struct {
		method, target, body string
		status               int
		want                 string
	}{
		{"GET", "/?greeting=Salutations", "", 200, "^Salutations, friendly user!$"},
		{"HEAD", "/", "", 200, "^$"},
		{"GET", "/healthz", "", 200, "^ok\n$"},
		{"GET", "/delay?s=0.1", "", 200, "^Hello, world!$"},
		{"GET", "/sleep?steps=1&s=0.1", "", 200, "^Finish "},
		{"GET", "/fetch", "", 200, "Time Cost"},
		{"GET", "/fetch/blocking", "", 200, "Time Cost"},
		{"GET", "/limited", "", 200, "^Request processed successfully.$"},
		{"GET", "/limited", "", 429, "^Too many requests. Please try again later.$"}, // from any server
		{"GET", "/cached", "", 200, "Expensive operation result$"},
		{"GET", "/cached", "", 200, "^Cached response: Expensive operation result$"},
		{"POST", "/tasks", `{"task":"inspect","args":["no","such"],"id":"proxied"}`, 202, `"id":"proxied"`},
		{"GET", "/tasks/proxied?wait=20s", "", 200, `"state":"failed"`},
		{"GET", "/tasks/types", "", 200, "inspect"},
		{"GET", "/tasks?limit=1", "", 200, `"proxied"`},
		{"DELETE", "/tasks/proxied", "", 409, ""},
		{"GET", "/start-task?data=x", "", 200, "^Task started: "},
		{"GET", "/longpoll?s=0.2", "", 200, "Waiting for data...(.|\n)*New data available!"},
		{"GET", "/nothing", "", 404, `"not found"`},
	} {
		resp, body := c.do(t, row.method, row.target, row.body)
		if resp.StatusCode != row.status || !regexp.MustCompile(row.want).MatchString(body) {
			t.Errorf("%s %s: %d %q", row.method, row.target, resp.StatusCode, body)
		}
		if resp.Header.Get("Server") != "gale" {
			t.Errorf("%s %s: Server is %q", row.method, row.target, resp.Header.Get("Server"))
		}
	}
}

func proxiedSockets(t *testing.T, c *cluster) {
	conn := c.socket(t, "/websocket")
	wantMessages(t, conn, "Welcome to the WebSocket server!")
	if got := harness.SendMessage(t, conn, websocket.TextMessage, "hi"); got != "You said: hi" {
		t.Errorf("got %q", got)
	}
	wantMessages(t, c.socket(t, "/heartbeat"), "Connected to Heartbeat WebSocket server!")
	wantMessages(t, c.socket(t, "/backpressure?n=2&ms=1"), "Connected to Backpressure WebSocket server!", "Message 0", "Message 1")
	wantMessages(t, c.socket(t, "/asyncio?n=2&ms=1"), "Connected to Asyncio WebSocket server!", "Message 0", "Message 1")

	// There is a client at each server, and there are some behind the proxy.
	var all []*websocket.Conn
	for _, s := range c.servers {
		all = append(all, harness.Socket(t, s, "/broadcast"))
	}
	for range 6 {
		all = append(all, c.socket(t, "/broadcast"))
	}
	for _, conn := range all {
		_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
		wantMessages(t, conn, "Connected to Broadcast WebSocket server!")
	}
	if err := all[3].WriteMessage(websocket.TextMessage, []byte("to all")); err != nil {
		t.Fatal(err)
	}
	for _, conn := range all {
		wantMessages(t, conn, "Broadcast: to all")
	}

	// The proxy must not buffer: an event arrives when it is published.
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+c.secure+"/events/proxied", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer sesame")
	resp, err := c.client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Scan() // the stream has started
	if resp, body := c.do(t, "POST", "/publish/proxied", "extra"); resp.StatusCode != http.StatusOK {
		t.Errorf("publish: %d %s", resp.StatusCode, body)
	}
	found := false
	for !found && lines.Scan() {
		found = lines.Text() == "data: extra"
	}
	if !found {
		t.Errorf("the event does not arrive: %v", lines.Err())
	}
}

func proxiedUploads(t *testing.T, c *cluster) {
	const size = 32 << 20
	body := io.MultiReader(
		strings.NewReader("--b\r\nContent-Disposition: form-data; name=\"big\"; filename=\"zeros.bin\"\r\n\r\n"),
		&harness.Zeros{N: size}, strings.NewReader("\r\n--b--\r\n"))
	req, err := http.NewRequest(http.MethodPost, "https://"+c.secure+"/upload", body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer sesame")
	req.Header.Set("Content-Type", "multipart/form-data; boundary=b")
	resp, err := c.client().Do(req) // chunked, without a length
	if err != nil {
		t.Fatal(err)
	}
	if text := harness.ReadAll(t, resp); resp.StatusCode != http.StatusOK || !strings.Contains(text, fmt.Sprintf(`"size":%d`, size)) {
		t.Errorf("upload: %d %s", resp.StatusCode, text)
	}
	if resp, text := c.do(t, "GET", "/upload/big/zeros.bin", "", "Range", "bytes=5-9"); resp.StatusCode != http.StatusPartialContent || text != "\x00\x00\x00\x00\x00" {
		t.Errorf("download: %d %q", resp.StatusCode, text)
	}
	if resp, text := c.do(t, "DELETE", "/upload?directory=big&filename=zeros.bin", ""); resp.StatusCode != http.StatusOK {
		t.Errorf("delete: %d %s", resp.StatusCode, text)
	}
	resumed(t, c)
	conn := c.socket(t, "/upload?directory=ws&filename=a.bin")
	if got := harness.SendMessage(t, conn, websocket.BinaryMessage, "chunk"); got != `{"offset":5}` {
		t.Errorf("got %s", got)
	}
	if got := harness.SendMessage(t, conn, websocket.TextMessage, "done"); !strings.Contains(got, `"code":200`) {
		t.Errorf("got %s", got)
	}
}

// resumed uploads a file by tus in two requests. Location must be a URL of the
// proxy.
func resumed(t *testing.T, c *cluster) {
	t.Helper()
	metadata := "directory dHVz,filename YS5iaW4=" // tus, a.bin
	resp, text := c.do(t, "POST", "/tus/", "", "Tus-Resumable", "1.0.0", "Upload-Length", "10", "Upload-Metadata", metadata)
	place, err := url.Parse(resp.Header.Get("Location"))
	if err != nil || resp.StatusCode != http.StatusCreated || place.Host != "" && place.Scheme+place.Host != "https"+c.secure {
		t.Fatalf("create: %d %q, Location %q", resp.StatusCode, text, resp.Header.Get("Location"))
	}
	patch(t, c, place.Path, "0", "first")
	patch(t, c, place.Path, "5", "other")
	if resp, text := c.do(t, "GET", "/upload/tus/a.bin", ""); resp.StatusCode != http.StatusOK || text != "firstother" {
		t.Errorf("download: %d %q", resp.StatusCode, text)
	}
}

func patch(t *testing.T, c *cluster, target, offset, part string) {
	t.Helper()
	resp, text := c.do(t, "PATCH", target, part, "Tus-Resumable", "1.0.0", "Content-Type", "application/offset+octet-stream", "Upload-Offset", offset)
	if resp.StatusCode != http.StatusNoContent {
		t.Errorf("PATCH at offset %s: %d %q", offset, resp.StatusCode, text)
	}
}

// The server uses the client address and the scheme that the proxy sends. The proxy
// replaces the same fields from a client.
func proxiedClient(t *testing.T, c *cluster) {
	c.do(t, "GET", "/?greeting=marked", "", "X-Forwarded-For", "192.0.2.7", "X-Real-IP", "192.0.2.8", "X-Scheme", "gopher")
	line := regexp.MustCompile(`msg=request .*client=127\.0\.0\.2 scheme=https .*greeting=marked`)
	testutil.Eventually(t, "the request is in the log", func() bool {
		for _, s := range c.servers {
			if line.MatchString(s.Log.String()) {
				return true
			}
		}
		return false
	})
	for _, s := range c.servers {
		if strings.Contains(s.Log.String(), "192.0.2.") || strings.Contains(s.Log.String(), "gopher") {
			t.Error("fields of the client reach the server")
		}
	}
}

func redirected(t *testing.T, c *cluster) {
	req, err := http.NewRequest(http.MethodPost, "http://"+c.plain+"/tasks?a=b", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "gale.example"
	resp, err := c.client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if got := resp.Header.Get("Location"); resp.StatusCode != http.StatusPermanentRedirect || got != "https://gale.example/tasks?a=b" {
		t.Errorf("%d to %q", resp.StatusCode, got)
	}
}

func proxiedStatic(t *testing.T, c *cluster, proxy string) {
	for target, forEver := range map[string]bool{"/static/app.js": false, "/static/app.js?v=1": true} {
		resp, body := c.do(t, "GET", target, "")
		long := regexp.MustCompile(`max-age=(\d{8,})`).MatchString(resp.Header.Get("Cache-Control"))
		if resp.StatusCode != http.StatusOK || body != "script" || long != forEver {
			t.Errorf("%s: %d %q %v", target, resp.StatusCode, body, resp.Header)
		}
	}
	if resp, body := c.do(t, "GET", "/favicon.ico", ""); proxy == "nginx" && (resp.StatusCode != http.StatusOK || body != "icon") {
		t.Errorf("favicon: %d %q", resp.StatusCode, body)
	}
}

// The three servers are restarted under load, one after the other. Every request gets
// a response.
func rollingRestart(t *testing.T, c *cluster) {
	var responses atomic.Int64
	var clients sync.WaitGroup
	stop := make(chan struct{})
	for i := range 8 {
		client := c.client()
		clients.Go(func() { // ends with stop
			defer client.CloseIdleConnections()
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				case <-time.After(2 * time.Millisecond):
				}
				resp, err := client.Get("https://" + c.secure + "/delay?s=0.01")
				if err != nil {
					t.Errorf("client %d, request %d: %v", i, n, err)
					return
				}
				body, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil || resp.StatusCode != http.StatusOK || string(body) != "Hello, world!" {
					t.Errorf("client %d, request %d: %d %q %v", i, n, resp.StatusCode, body, err)
				}
				responses.Add(1)
			}
		})
	}
	for i := range c.servers {
		before := responses.Load()
		c.restart(i)
		testutil.Eventually(t, "the proxy uses the server again", func() bool {
			return responses.Load() > before+100 && strings.Count(c.servers[i].Log.String(), "msg=request") > 10
		})
	}
	close(stop)
	clients.Wait()
	t.Logf("%d responses during three restarts", responses.Load())
	if responses.Load() < 500 {
		t.Error("too few requests for a test")
	}
}
