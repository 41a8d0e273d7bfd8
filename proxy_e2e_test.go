//go:build e2e

package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/fasthttp/websocket"

	"gale/jobs/redistest"
)

// cluster are three servers that share a Redis, behind a proxy.
type cluster struct {
	servers       []*gale
	restart       func(i int) // ends a server and starts it again where it was
	plain, secure string      // addresses of the proxy
	roots         *x509.CertPool
}

// proxies are the configurations that are shipped, each with what has to be
// replaced to run it here, and how it is started.
var proxies = map[string]struct {
	file  string
	start func(t *testing.T, c *cluster, text, dir string) *exec.Cmd
}{
	"nginx": {"deploy/nginx/gale.conf", func(t *testing.T, c *cluster, text, dir string) *exec.Cmd {
		text = replaceAll(t, text,
			"listen 80;", "listen "+c.plain+";", "listen 443 ssl;", "listen "+c.secure+" ssl;",
			"/etc/ssl/gale/cert.pem", dir+"/cert.pem", "/etc/ssl/gale/key.pem", dir+"/key.pem", "/var/www/gale", dir+"/www")
		whole := "daemon off; user root; pid " + dir + "/pid; error_log stderr warn; worker_processes 1;\nevents { worker_connections 4096; }\nhttp {\naccess_log off;\n"
		for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
			whole += kind + "_temp_path " + dir + "/" + kind + ";\n"
		}
		conf := filepath.Join(dir, "nginx.conf")
		if err := os.WriteFile(conf, []byte(whole+text+"}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return exec.Command("nginx", "-p", dir, "-c", conf)
	}},
	"haproxy": {"deploy/haproxy/haproxy.cfg", func(t *testing.T, c *cluster, text, dir string) *exec.Cmd {
		text = replaceAll(t, text, "bind :80\n", "bind "+c.plain+"\n", "bind :443 ", "bind "+c.secure+" ", "/etc/ssl/gale/both.pem", dir+"/both.pem")
		conf := filepath.Join(dir, "haproxy.cfg")
		if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return exec.Command("haproxy", "-db", "-f", conf)
	}},
}

// replaceAll replaces pairs, each of which must be there.
func replaceAll(t *testing.T, text string, pairs ...string) string {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(text, pairs[i]) {
			t.Fatalf("no %q in\n%s", pairs[i], text)
		}
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

// behind starts three servers and a proxy in front of them.
func behind(t *testing.T, proxy string) *cluster {
	t.Helper()
	dir := t.TempDir()
	c := &cluster{plain: freeAddr(t), secure: freeAddr(t)}
	var cert, key string
	cert, key, c.roots = writePair(t, dir)
	both, err := os.ReadFile(cert)
	if err != nil {
		t.Fatal(err)
	}
	private, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		"both.pem": append(both, private...), "www/static/app.js": []byte("script"), "www/static/favicon.ico": []byte("icon"),
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	redis := redistest.StartAOF(t)
	text, err := os.ReadFile(proxies[proxy].file)
	if err != nil {
		t.Fatal(err)
	}
	addrs := make([]string, 3)
	serve := func(i int) *gale {
		_, port, _ := net.SplitHostPort(addrs[i])
		return start(t, filepath.Join(dir, fmt.Sprint("data", i)), "-port", port, "-procs", "2", "-workers", "1", "-redis", redis.URL(),
			"-static", filepath.Join(dir, "www/static"), "-access-log", "all", "-upload-dir", filepath.Join(dir, "uploads"), "-token", "sesame", "-fetch-url", "http://"+addrs[0]+"/healthz")
	}
	config := string(text)
	for i, shipped := range []string{"127.0.0.1:8888", "127.0.0.1:8889", "127.0.0.1:8890"} {
		addrs[i] = freeAddr(t)
		config = replaceAll(t, config, shipped, addrs[i])
		if err := os.Mkdir(filepath.Join(dir, fmt.Sprint("data", i)), 0o700); err != nil {
			t.Fatal(err)
		}
		c.servers = append(c.servers, serve(i))
	}
	c.restart = func(i int) {
		_ = c.servers[i].cmd.Process.Signal(syscall.SIGTERM)
		if err := c.servers[i].wait(40 * time.Second); err != nil {
			t.Error(err)
		}
		c.servers[i] = serve(i)
	}
	cmd := proxies[proxy].start(t, c, config, dir)
	log := &logBuffer{}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s's log:\n%s", proxy, log)
		}
	})
	eventually(t, 20*time.Second, proxy+" answers", func() bool {
		resp, err := c.client().Get("https://" + c.secure + "/healthz")
		if err == nil {
			resp.Body.Close()
		}
		return err == nil && resp.StatusCode == http.StatusOK
	})
	return c
}

// client speaks TLS with the proxy, from 127.0.0.2, and follows no redirect.
func (c *cluster) client() *http.Client {
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}, Timeout: 10 * time.Second}
	return &http.Client{
		Timeout:       30 * time.Second,
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{RootCAs: c.roots}, DialContext: dialer.DialContext},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// do sends a request with the token through the proxy.
func (c *cluster) do(t *testing.T, method, target, body string, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest(method, "https://"+c.secure+target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer sesame")
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	client := c.client()
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, target, err)
	}
	return resp, readAll(t, resp)
}

// socket opens a WebSocket through the proxy.
func (c *cluster) socket(t *testing.T, target string) *websocket.Conn {
	t.Helper()
	d := websocket.Dialer{TLSClientConfig: &tls.Config{RootCAs: c.roots}, HandshakeTimeout: 10 * time.Second}
	conn, resp, err := d.Dial("wss://"+c.secure+target, http.Header{"Authorization": {"Bearer sesame"}})
	if err != nil {
		t.Fatalf("%s: %v, %+v", target, err, resp)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	return conn
}

// hears reads messages of a WebSocket, which must be these.
func hears(t *testing.T, conn *websocket.Conn, want ...string) {
	t.Helper()
	for _, w := range want {
		if _, got, err := conn.ReadMessage(); err != nil || string(got) != w {
			t.Errorf("heard %q, %v; want %q", got, err, w)
		}
	}
}

func TestE2EProxies(t *testing.T) {
	for proxy := range proxies {
		t.Run(proxy, func(t *testing.T) {
			c := behind(t, proxy)
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
		{"GET", "/limited", "", 429, "^Too many requests. Please try again later.$"}, // whichever server answers
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
	hears(t, conn, "Welcome to the WebSocket server!")
	if got := sendMessage(t, conn, websocket.TextMessage, "hi"); got != "You said: hi" {
		t.Errorf("got %q", got)
	}
	hears(t, c.socket(t, "/heartbeat"), "Connected to Heartbeat WebSocket server!")
	hears(t, c.socket(t, "/backpressure?n=2&ms=1"), "Connected to Backpressure WebSocket server!", "Message 0", "Message 1")
	hears(t, c.socket(t, "/asyncio?n=2&ms=1"), "Connected to Asyncio WebSocket server!", "Message 0", "Message 1")

	// One listener at each server, and some through the proxy: all hear it.
	var all []*websocket.Conn
	for _, s := range c.servers {
		all = append(all, socket(t, s, "/broadcast"))
	}
	for range 6 {
		all = append(all, c.socket(t, "/broadcast"))
	}
	for _, conn := range all {
		_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
		hears(t, conn, "Connected to Broadcast WebSocket server!")
	}
	if err := all[3].WriteMessage(websocket.TextMessage, []byte("to all")); err != nil {
		t.Fatal(err)
	}
	for _, conn := range all {
		hears(t, conn, "Broadcast: to all")
	}

	// An event comes when it is published, not when a buffer is full.
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
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
	lines.Scan() // the stream is there
	if resp, body := c.do(t, "POST", "/publish/proxied", "extra"); resp.StatusCode != http.StatusOK {
		t.Errorf("publish: %d %s", resp.StatusCode, body)
	}
	found := false
	for !found && lines.Scan() {
		found = lines.Text() == "data: extra"
	}
	if !found {
		t.Errorf("the event does not come: %v", lines.Err())
	}
}

func proxiedUploads(t *testing.T, c *cluster) {
	const size = 32 << 20
	body := io.MultiReader(
		strings.NewReader("--b\r\nContent-Disposition: form-data; name=\"big\"; filename=\"zeros.bin\"\r\n\r\n"),
		&zeros{size}, strings.NewReader("\r\n--b--\r\n"))
	req, err := http.NewRequest(http.MethodPost, "https://"+c.secure+"/upload", body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer sesame")
	req.Header.Set("Content-Type", "multipart/form-data; boundary=b")
	resp, err := c.client().Do(req) // chunked: nobody knows the length
	if err != nil {
		t.Fatal(err)
	}
	if text := readAll(t, resp); resp.StatusCode != http.StatusOK || !strings.Contains(text, fmt.Sprintf(`"size":%d`, size)) {
		t.Errorf("upload: %d %s", resp.StatusCode, text)
	}
	if resp, text := c.do(t, "GET", "/upload/big/zeros.bin", "", "Range", "bytes=5-9"); resp.StatusCode != http.StatusPartialContent || text != "\x00\x00\x00\x00\x00" {
		t.Errorf("download: %d %q", resp.StatusCode, text)
	}
	if resp, text := c.do(t, "DELETE", "/upload?directory=big&filename=zeros.bin", ""); resp.StatusCode != http.StatusOK {
		t.Errorf("delete: %d %s", resp.StatusCode, text)
	}
	conn := c.socket(t, "/upload?directory=ws&filename=a.bin")
	if got := sendMessage(t, conn, websocket.BinaryMessage, "chunk"); got != `{"offset":5}` {
		t.Errorf("got %s", got)
	}
	if got := sendMessage(t, conn, websocket.TextMessage, "done"); !strings.Contains(got, `"code":200`) {
		t.Errorf("got %s", got)
	}
}

// What a proxy says of client and scheme is believed; what the client itself
// says of them never gets there.
func proxiedClient(t *testing.T, c *cluster) {
	c.do(t, "GET", "/?greeting=marked", "", "X-Forwarded-For", "192.0.2.7", "X-Real-IP", "192.0.2.8", "X-Scheme", "gopher")
	line := regexp.MustCompile(`msg=request .*client=127\.0\.0\.2 scheme=https .*greeting=marked`)
	eventually(t, 10*time.Second, "the line of the request", func() bool {
		for _, s := range c.servers {
			if line.MatchString(s.log.String()) {
				return true
			}
		}
		return false
	})
	for _, s := range c.servers {
		if strings.Contains(s.log.String(), "192.0.2.") || strings.Contains(s.log.String(), "gopher") {
			t.Error("what the client said was believed")
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

// All three servers are restarted, one after the other, under load, and every
// request is answered.
func rollingRestart(t *testing.T, c *cluster) {
	var answered atomic.Int64
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
				answered.Add(1)
			}
		})
	}
	for i := range c.servers {
		before := answered.Load()
		c.restart(i)
		eventually(t, 20*time.Second, "the server is found again", func() bool {
			return answered.Load() > before+100 && strings.Count(c.servers[i].log.String(), "msg=request") > 10
		})
	}
	close(stop)
	clients.Wait()
	t.Logf("%d answered over three restarts", answered.Load())
	if answered.Load() < 500 {
		t.Error("that is no load")
	}
}
