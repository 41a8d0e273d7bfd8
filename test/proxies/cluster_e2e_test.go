//go:build e2e

package proxies_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fasthttp/websocket"

	"github.com/galeserver/gale/internal/redistest"
	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/test/harness"
)

// cluster is a proxy in front of three servers that share a Redis.
type cluster struct {
	servers       []*harness.Server
	restart       func(i int) // restarts a server at the same address
	plain, secure string      // URLs of the proxy
	roots         *x509.CertPool
}

// proxies are the shipped configurations, each with the texts that the test replaces
// and the command that starts the proxy.
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

// replaceAll replaces texts in pairs. Each must occur.
func replaceAll(t *testing.T, text string, pairs ...string) string {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(text, pairs[i]) {
			t.Fatalf("no %q in\n%s", pairs[i], text)
		}
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

// startCluster starts three servers and a proxy in front of them.
func startCluster(t *testing.T, proxy string) *cluster {
	t.Helper()
	dir := t.TempDir()
	c := &cluster{plain: "127.0.0.1:" + harness.FreePort(t), secure: "127.0.0.1:" + harness.FreePort(t)}
	var cert, key string
	cert, key, c.roots = harness.WriteCertificate(t, dir)
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
	serve := func(i int) *harness.Server {
		_, port, _ := net.SplitHostPort(addrs[i])
		return harness.Start(t, filepath.Join(dir, fmt.Sprint("data", i)), "-port", port, "-procs", "2", "-workers", "1", "-redis", redis.URL(),
			"-static", filepath.Join(dir, "www/static"), "-access-log", "all", "-upload-dir", filepath.Join(dir, "uploads"), "-token", "sesame", "-fetch-url", "http://"+addrs[0]+"/healthz")
	}
	config := string(text)
	for i, shipped := range []string{"127.0.0.1:8888", "127.0.0.1:8889", "127.0.0.1:8890"} {
		addrs[i] = "127.0.0.1:" + harness.FreePort(t)
		config = replaceAll(t, config, shipped, addrs[i])
		if err := os.Mkdir(filepath.Join(dir, fmt.Sprint("data", i)), 0o700); err != nil {
			t.Fatal(err)
		}
		c.servers = append(c.servers, serve(i))
	}
	c.restart = func(i int) {
		_ = c.servers[i].Cmd.Process.Signal(syscall.SIGTERM)
		if err := c.servers[i].Wait(); err != nil {
			t.Error(err)
		}
		c.servers[i] = serve(i)
	}
	cmd := proxies[proxy].start(t, c, config, dir)
	log := &testutil.LogBuffer{}
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
	testutil.Eventually(t, proxy+" responds", func() bool {
		resp, err := c.client().Get("https://" + c.secure + "/healthz")
		if err == nil {
			resp.Body.Close()
		}
		return err == nil && resp.StatusCode == http.StatusOK
	})
	return c
}

// client returns a client that connects from 127.0.0.2 and follows no redirects.
func (c *cluster) client() *http.Client {
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}, Timeout: time.Minute}
	return &http.Client{
		Timeout:       time.Minute,
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
	return resp, harness.ReadAll(t, resp)
}

// socket opens a WebSocket through the proxy.
func (c *cluster) socket(t *testing.T, target string) *websocket.Conn {
	t.Helper()
	d := websocket.Dialer{TLSClientConfig: &tls.Config{RootCAs: c.roots}, HandshakeTimeout: time.Minute}
	conn, resp, err := d.Dial("wss://"+c.secure+target, http.Header{"Authorization": {"Bearer sesame"}})
	if err != nil {
		t.Fatalf("%s: %v, %+v", target, err, resp)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
	return conn
}

// wantMessages reads messages from a WebSocket and compares them.
func wantMessages(t *testing.T, conn *websocket.Conn, want ...string) {
	t.Helper()
	for _, w := range want {
		if _, got, err := conn.ReadMessage(); err != nil || string(got) != w {
			t.Errorf("received %q, %v; want %q", got, err, w)
		}
	}
}
