//go:build e2e

package proxies_test

import (
	"bytes"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/fasthttp/websocket"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/test/harness"
)

// nameserver is a DNS server that responds like Docker's for the name of a service:
// with the addresses of all its containers.
type nameserver struct {
	conn      net.PacketConn
	addresses atomic.Pointer[[][4]byte]
	asked     atomic.Int64
}

func startNameserver(t *testing.T) *nameserver {
	t.Helper()
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &nameserver{conn: conn}
	ended := make(chan struct{})
	go func() { // ends when the socket is closed
		defer close(ended)
		buf := make([]byte, 512)
		for {
			size, client, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			if response, err := n.response(buf[:size]); err == nil {
				_, _ = conn.WriteTo(response, client)
			}
		}
	}()
	t.Cleanup(func() {
		_ = conn.Close()
		<-ended
	})
	return n
}

func (n *nameserver) response(question []byte) ([]byte, error) {
	var m dnsmessage.Message
	if err := m.Unpack(question); err != nil {
		return nil, err
	}
	n.asked.Add(1)
	m.Response = true
	for _, address := range *n.addresses.Load() {
		m.Answers = append(m.Answers, dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{Name: m.Questions[0].Name, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET, TTL: 600},
			Body:   &dnsmessage.AResource{A: address},
		})
	}
	return m.Pack()
}

// TestE2EProxy runs the nginx of compose.yaml in front of three servers with one
// name. Requests reach all three with the addresses of the clients. No request fails
// when a server is killed, and a server that is started later gets requests.
func TestE2EProxy(t *testing.T) {
	names := startNameserver(t)
	port := harness.FreePort(t)
	servers := map[string]*harness.Server{}
	app := func(last byte) [4]byte {
		address := [4]byte{127, 0, 88, last}
		host := net.IP(address[:]).String()
		servers[host] = harness.Start(t, t.TempDir(), "-host", host, "-port", port, "-procs", "1", "-workers", "0", "-access-log", "all")
		return address
	}
	all := [][4]byte{app(1), app(2), app(3)}
	names.addresses.Store(&all)
	url := startShippedNginx(t, names.conn.LocalAddr().String(), port)

	testutil.Eventually(t, "nginx responds", func() bool {
		code, _, err := harness.Get(url + "/")
		return err == nil && code == http.StatusOK
	})
	requestProxy(t, url, 30)
	for host, g := range servers {
		testutil.Eventually(t, host+" has got requests", func() bool { return requests(g) > 0 })
	}
	checkThroughProxy(t, url)
	servers["127.0.88.2"].Kill()
	requestProxy(t, url, 30)
	all = [][4]byte{app(4)}
	names.addresses.Store(&all)
	testutil.Eventually(t, "the new server has got requests", func() bool {
		requestProxy(t, url, 1)
		return requests(servers["127.0.88.4"]) > 0
	})
}

// requests counts the requests in the log of a server.
func requests(g *harness.Server) int { return strings.Count(g.Log.String(), "msg=request ") }

// checkThroughProxy uses what nginx allows only by configuration: a WebSocket, and a
// body that exceeds its default limit.
func checkThroughProxy(t *testing.T, url string) {
	t.Helper()
	conn, resp, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(url, "http")+"/websocket", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	defer conn.Close()
	if _, text, err := conn.ReadMessage(); err != nil || string(text) != "Welcome to the WebSocket server!" {
		t.Errorf("%q, %v", text, err)
	}
	contentType, body := harness.UploadForm("proxied", "large.bin", harness.UploadContent(1, 3<<20))
	response, err := http.Post(url+"/upload", contentType, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if text := harness.ReadAll(t, response); response.StatusCode != http.StatusOK {
		t.Errorf("an upload of 3 MiB: %d %s", response.StatusCode, text)
	}
}

// requestProxy sends requests. None may fail.
func requestProxy(t *testing.T, url string, n int) {
	t.Helper()
	for i := range n {
		if code, body, err := harness.Get(url + "/?greeting=Hi"); err != nil || code != http.StatusOK || body != "Hi, friendly user!" {
			t.Fatalf("request %d: %d %s, %v", i, code, body, err)
		}
	}
}

// startShippedNginx runs deploy/docker/nginx.conf with the ports and the nameserver of
// the test.
func startShippedNginx(t *testing.T, resolver, port string) (url string) {
	t.Helper()
	dir := t.TempDir()
	text, err := os.ReadFile("deploy/docker/nginx.conf")
	if err != nil {
		t.Fatal(err)
	}
	listen := "127.0.0.1:" + harness.FreePort(t)
	conf := string(text)
	for from, to := range map[string]string{
		"listen 80;": "listen " + listen + ";", "resolver 127.0.0.11 valid=5s": "resolver " + resolver + " valid=1s", "$app:8888": "$app:" + port,
		"/run/nginx.pid": filepath.Join(dir, "pid"), "worker_processes auto;": "worker_processes 1; daemon off;", "/dev/stdout": filepath.Join(dir, "access"),
	} {
		if strings.Count(conf, from) != 1 {
			t.Fatalf("nginx.conf contains %q %d times", from, strings.Count(conf, from))
		}
		conf = strings.Replace(conf, from, to, 1)
	}
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	harness.Run(t, "nginx", "-t", "-q", "-p", dir, "-c", file)
	log := &testutil.LogBuffer{}
	cmd := exec.Command("nginx", "-p", dir, "-c", file)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("log of nginx:\n%s", log)
		}
	})
	return "http://" + listen
}
