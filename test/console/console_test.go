package console_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fasthttp/websocket"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/test/harness"
)

// privateFiles are files of the console that only browsers with a session get.
var privateFiles = append(slices.Clone(consoleFiles), "index.html", "login-wrong.html", "login-late.html")

// consoleFiles are all files that the page loads.
var consoleFiles = []string{
	"app.js", "api.js", "chart.js", "dom.js", "format.js", "frames.js", "history.js", "keys.js", "live.js", "recent.js", "router.js", "routes.js", "theme.js",
	"pages_channels.js", "pages_files.js", "pages_overview.js", "pages_queues.js", "pages_schedules.js", "pages_task.js", "pages_tasks.js", "pages_workers.js", "pages_workflows.js",
	"filelist.js", "taskartifacts.js", "taskform.js", "tasklist.js", "tasklog.js", "tasks.css", "taskselection.js", "tasktimeline.js", "tus.js", "uploads.js",
	"workflow.js", "workflowgraph.js", "icon.svg",
}

func TestConsoleWithoutAToken(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, t.TempDir(), "-procs", "1")
	b := harness.NewBrowser(t, g)
	resp, text := b.Expect("GET", "/console", "none", "", 200)
	policy := resp.Header.Get("Content-Security-Policy")
	if !strings.HasPrefix(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") || !strings.Contains(text, "/console/app.js") {
		t.Errorf("%q\n%s", policy, text)
	}
	for _, name := range consoleFiles {
		resp, _ := b.Expect("GET", "/console/"+name, "same-origin", "", 200)
		if resp.Header.Get("Content-Security-Policy") != policy || resp.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %v", name, resp.Header)
		}
		req, err := http.NewRequest(http.MethodGet, b.URL+"/console/"+name, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("If-None-Match", resp.Header.Get("Etag"))
		again, err := b.Client.Do(req)
		if err != nil || again.StatusCode != http.StatusNotModified {
			t.Errorf("%s, once more: %v, %v", name, again, err)
		}
		again.Body.Close()
	}
	b.Expect("GET", "/console/nothing.js", "none", "", 404)
	b.Expect("GET", "/console/index.html", "none", "", 404)
	b.Expect("GET", "/console/login", "none", "", 303)
	b.Expect("POST", "/console/login", "same-origin", "token=x", 303)

	// The WebSocket sends all parts first, and a task as soon as it exists.
	c := consoleSocket(t, g, nil, 101)
	parts := map[string]json.RawMessage{}
	for len(parts) < 3 {
		kind, frame := consoleFrame(t, c)
		parts[kind] = frame
	}
	code, _, err := harness.Get(g.URL + "/start-task?data=seen")
	if err != nil || code != 200 {
		t.Fatal(code, err)
	}
	for {
		if kind, frame := consoleFrame(t, c); kind == "tasks" && strings.Contains(string(frame), `"long_running_task"`) {
			break
		}
	}
	if err := c.WriteMessage(websocket.TextMessage, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	for err = nil; err == nil; {
		_, _, err = c.ReadMessage()
	}
	if !websocket.IsCloseError(err, websocket.ClosePolicyViolation) {
		t.Errorf("after a message from the page: %v", err)
	}
	consoleSocket(t, g, http.Header{"Origin": {"http://evil.example"}}, 403)
}

// consoleSocket opens /console/live and checks the status.
func consoleSocket(t *testing.T, g *harness.Server, header http.Header, status int) *websocket.Conn {
	t.Helper()
	c, resp, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(g.URL, "http")+"/console/live", header)
	if resp == nil || resp.StatusCode != status {
		t.Fatalf("handshake: %v, %v; want %d", resp, err, status)
	}
	if err != nil {
		return nil
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func consoleFrame(t *testing.T, c *websocket.Conn) (kind string, frame json.RawMessage) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(time.Minute))
	_, text, err := c.ReadMessage()
	var f struct{ Type string }
	if err == nil {
		err = json.Unmarshal(text, &f)
	}
	if err != nil {
		t.Fatal(err)
	}
	return f.Type, text
}

// If a token is set, only the login of the console is served without a session. The
// session of a login is valid in every process.
func TestConsoleWithAToken(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, t.TempDir(), "-procs", "2", "-token", "to-be-drawn")
	b := harness.NewBrowser(t, g)
	if resp, _ := b.Expect("GET", "/console", "none", "", 303); resp.Header.Get("Location") != "/console/login" {
		t.Errorf("location %q", resp.Header.Get("Location"))
	}
	for _, name := range privateFiles {
		if _, text := b.Expect("GET", "/console/"+name, "same-origin", "", 401); len(text) > 100 {
			t.Errorf("%s: %s", name, text)
		}
	}
	consoleSocket(t, g, nil, 401)
	if _, text := b.Expect("GET", "/console/login", "none", "", 200); !strings.Contains(text, `type="password"`) {
		t.Errorf("login: %s", text)
	}
	b.Expect("GET", "/console/style.css", "same-origin", "", 200)

	resp, _ := b.Expect("POST", "/console/login", "same-origin", "token=guess", 403)
	if _, text := b.Do("POST", "/console/login", "same-origin", "token=guess"); !strings.Contains(text, "Wrong token") || !strings.Contains(text, `type="password"`) {
		t.Errorf("after a wrong token: %s", text)
	}
	if len(resp.Cookies()) != 0 {
		t.Errorf("a wrong token sets %v", resp.Cookies())
	}
	b.Expect("POST", "/console/login", "cross-site", "token=to-be-drawn", 403)
	resp, _ = b.Expect("POST", "/console/login", "same-origin", "token=to-be-drawn", 303)
	if len(resp.Cookies()) != 1 {
		t.Fatalf("cookies: %v", resp.Cookies())
	}
	cookie := resp.Cookies()[0]
	if !cookie.HttpOnly || cookie.SameSite != http.SameSiteStrictMode || cookie.Path != "/" || cookie.Secure || strings.Contains(cookie.Value, "drawn") || cookie.MaxAge != 12*3600 {
		t.Errorf("%+v", cookie)
	}
	for range 6 { // at both processes
		b.Expect("GET", "/console", "none", "", 200)
		b.Expect("GET", "/tasks", "same-origin", "", 200)
	}
	b.Expect("GET", "/tasks", "same-site", "", 403)
	b.Expect("POST", "/start-task", "same-origin", "data=x", 200)
	b.Expect("POST", "/start-task", "same-site", "data=x", 403)
	session := cookie.Name + "=" + cookie.Value
	c := consoleSocket(t, g, http.Header{"Cookie": {session}, "Origin": {g.URL}}, 101)
	consoleFrame(t, c)
	consoleSocket(t, g, http.Header{"Cookie": {session}, "Origin": {"http://127.0.0.1:1"}}, 403)
	consoleSocket(t, g, http.Header{"Sec-WebSocket-Protocol": {"bearer.guess"}}, 401)

	b.Expect("POST", "/console/logout", "same-origin", "", 303)
	if u, err := url.Parse(g.URL); err != nil || len(b.Client.Jar.Cookies(u)) != 0 {
		t.Errorf("after the logout: %v, %v", b.Client.Jar.Cookies(u), err)
	}
	b.Expect("GET", "/tasks", "same-origin", "", 401)
}

// Ten attempts to log in are allowed a minute, over all processes.
func TestConsoleLoginIsLimited(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, t.TempDir(), "-procs", "2", "-token", "to-be-drawn")
	b := harness.NewBrowser(t, g)
	testutil.Eventually(t, "the limit applies", func() bool {
		resp, _ := b.Do("POST", "/console/login", "same-origin", "token=guess")
		return resp.Header.Get("RateLimit") != ""
	})
	codes := map[int]int{}
	for range 15 {
		resp, _ := b.Do("POST", "/console/login", "same-origin", "token=guess")
		codes[resp.StatusCode]++
		if resp.StatusCode == http.StatusTooManyRequests && resp.Header.Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
	}
	if codes[403] > 11 || codes[429] < 4 || codes[403]+codes[429] != 15 {
		t.Errorf("%v", codes)
	}
	b.Expect("POST", "/console/login", "same-origin", "token=to-be-drawn", 429)
	if !strings.Contains(g.Log.String(), "too many login attempts") {
		t.Error("the log does not say so")
	}
}

// The clients of the broadcast are counted over all processes, while connected.
func TestBroadcastClientsAreCounted(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, t.TempDir(), "-procs", "2")
	const clients = 7
	all := make([]*websocket.Conn, clients)
	for i := range all {
		c, _, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(g.URL, "http")+"/broadcast", nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		all[i] = c
	}
	counted := func(want float64) func() bool {
		return func() bool {
			_, text, err := harness.Get("http://" + g.Admin + "/metrics")
			if err != nil {
				t.Fatal(err)
			}
			sum := 0.0
			for _, m := range regexp.MustCompile(`(?m)^gale_broadcast_clients\{slot="serve\.\d"\} (\d+)$`).FindAllStringSubmatch(text, -1) {
				n, err := strconv.ParseFloat(m[1], 64)
				if err != nil {
					t.Fatal(err)
				}
				sum += n
			}
			return sum == want
		}
	}
	testutil.Eventually(t, "all clients are counted", counted(clients))
	for _, c := range all[2:] {
		c.Close()
	}
	testutil.Eventually(t, "only connected clients are counted", counted(2))
}

// The login is limited by IPv6 network, since a host has many addresses.
func TestConsoleLoginIsLimitedByNetwork(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, t.TempDir(), "-procs", "1", "-token", "to-be-drawn")
	guess := func(client string) *http.Response {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.URL+"/console/login", strings.NewReader("token=guess"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("X-Real-IP", client)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp
	}
	testutil.Eventually(t, "the limit applies", func() bool { return guess("192.0.2.1").Header.Get("RateLimit") != "" })
	codes := map[int]int{}
	for i := range 15 {
		codes[guess(fmt.Sprintf("2001:db8::%x", i+1)).StatusCode]++
	}
	if codes[429] < 4 {
		t.Errorf("fifteen addresses of one network: %v", codes)
	}
	if code := guess("2001:db8:0:1::1").StatusCode; code != http.StatusForbidden {
		t.Errorf("another network: %d", code)
	}
}
