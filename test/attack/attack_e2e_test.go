//go:build e2e

package attack_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/test/harness"
)

// maxMemory is the limit of the memory of all processes during every attack. The attacks
// together send, or announce, many times as much.
const maxMemory = 1 << 30

// attacks by name. Each returns when it is over, and calls p.await while it has full effect.
var attacks = []struct {
	name   string
	attack func(t *testing.T, g *harness.Server, p *prober)
}{
	{"slow clients", slowClients},
	{"WebSocket frames", socketFrames},
	{"compression bombs", compressionBombs},
	{"many keys", manyKeys},
	{"tasks", manyTasks},
}

// TestE2EAttacks attacks a server with default flags in several ways. Meanwhile every request
// of another client must succeed, no process may end, and the memory stays within a limit.
func TestE2EAttacks(t *testing.T) {
	g := harness.Start(t, t.TempDir())
	p := startProber(t, g)
	p.await(t, probeRounds)
	for _, a := range attacks {
		t.Run(a.name, func(t *testing.T) {
			p.reset()
			stop := watchMemory(t, g)
			a.attack(t, g, p)
			p.check(t)
			if most := stop(); most > maxMemory {
				t.Errorf("the server used %d MiB", most>>20)
			}
		})
	}
	for name, s := range g.Slots(t) {
		if s.Restarts != 0 || s.State != "live" {
			t.Errorf("%s: %s, %d restarts", name, s.State, s.Restarts)
		}
	}
}

// watchMemory reads the memory of the server until the returned function is called, which
// logs and returns the largest value.
func watchMemory(t *testing.T, g *harness.Server) func() int64 {
	before, most := g.Memory(t), int64(0)
	done, stopped := make(chan struct{}), make(chan struct{})
	go func() { // ends with done
		defer close(stopped)
		tick := time.NewTicker(500 * time.Millisecond)
		defer tick.Stop()
		for {
			most = max(most, g.Memory(t))
			select {
			case <-done:
				return
			case <-tick.C:
			}
		}
	}()
	return func() int64 {
		close(done)
		<-stopped
		t.Logf("memory of all processes: %d MiB before, %d MiB at most", before>>20, most>>20)
		return most
	}
}

// connect opens a TCP connection, which is closed at the end of the test.
func connect(t *testing.T, g *harness.Server) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(g.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// trickle writes text again and again, one byte at a time with pauses, until done is closed
// or the connection ends.
func trickle(c net.Conn, text string, done <-chan struct{}) {
	tick := time.NewTicker(300 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ; i = (i + 1) % len(text) {
		if _, err := c.Write([]byte(text[i : i+1])); err != nil {
			return
		}
		select {
		case <-done:
			return
		case <-tick.C:
		}
	}
}

// awaitStatus reads the first line of the response on each connection. It must have the
// status.
func awaitStatus(t *testing.T, all []net.Conn, status string) {
	t.Helper()
	for _, c := range all {
		head := make([]byte, len("HTTP/1.1 ")+len(status))
		_ = c.SetReadDeadline(time.Now().Add(testutil.Patience))
		if _, err := io.ReadFull(c, head); err != nil || !strings.HasSuffix(string(head), " "+status) {
			t.Fatalf("want status %s: %q, %v", status, head, err)
		}
	}
}

// Numbers of connections of the slow clients.
const (
	slowHeads   = 500
	slowBodies  = 400
	slowReaders = 200
	idleClients = 10_000
)

// slowClients sends heads and bodies a byte at a time, requests files without reading them, and
// opens connections that send nothing, all at once: each of these waits for a timeout of the
// server. Heads and bodies get a 408 response, and the server closes all connections.
func slowClients(t *testing.T, g *harness.Server, p *prober) {
	done := make(chan struct{})
	var writers sync.WaitGroup
	var late []net.Conn // get a 408 response
	slow := func(head, text string) {
		c := connect(t, g)
		if _, err := io.WriteString(c, head); err != nil {
			t.Fatal(err)
		}
		late = append(late, c)
		writers.Go(func() { trickle(c, text, done) })
	}
	requestFiles(t, g)
	for range slowHeads {
		slow("", "GET / HTTP/1.1\r\n"+strings.Repeat("X: y\r\n", 1000))
	}
	for i := range slowBodies {
		slow(slowBody(i))
	}
	for range idleClients {
		connect(t, g)
	}
	const all = slowHeads + slowBodies + slowReaders + idleClients
	testutil.Eventually(t, "all are connected", func() bool { return g.Metrics(t).Sum("gale_connections") >= all })
	p.await(t, probeRounds)
	close(done) // bodies have no limit while they go on
	writers.Wait()
	awaitStatus(t, late, "408")
	testutil.Eventually(t, "all are disconnected", func() bool { return g.Metrics(t).Sum("gale_connections") < all/100 })
}

// slowBody returns the head of a request with a long body, and a part of the body, for routes
// that read it in different ways.
func slowBody(i int) (head, text string) {
	head = []string{
		"POST /tasks HTTP/1.1\r\nContent-Length: 100000",
		fmt.Sprintf("PUT /upload/slow/%d.bin HTTP/1.1\r\nContent-Length: 100000000", i),
		"POST /upload HTTP/1.1\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: 100000000",
		"POST /publish/news HTTP/1.1\r\nTransfer-Encoding: chunked",
	}[i%4]
	text = []string{" ", "x", "--b\r\nContent-Disposition: form-data; name=\"slow\"; filename=\"" + fmt.Sprint(i) + "\"\r\n\r\n" + strings.Repeat("x", 10_000), "1\r\nx\r\n"}[i%4]
	return head + "\r\nHost: server\r\n\r\n", text
}

// requestFiles requests a file of 32 MiB on several connections and reads none of it.
func requestFiles(t *testing.T, g *harness.Server) {
	file := filepath.Join(t.TempDir(), "large.bin")
	if err := os.WriteFile(file, harness.UploadContent(1, 32<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	harness.Upload(t, g, "large", file)
	for range slowReaders {
		if _, err := io.WriteString(connect(t, g), "GET /upload/large/large.bin HTTP/1.1\r\nHost: server\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
	}
}

// manyKeys sends the largest requests that are within the limits, with as many names in them
// as possible. Each gets a response. There are no names that collide: Go's maps hash with a
// random key for each map.
func manyKeys(t *testing.T, g *harness.Server, p *prober) {
	keys := func(n int, format, sep string) string {
		all := make([]string, n)
		for i := range all {
			all[i] = fmt.Sprintf(format, i)
		}
		return strings.Join(all, sep)
	}
	const form = "application/x-www-form-urlencoded"
	parts := keys(1001, "--b\r\nContent-Disposition: form-data; name=\"k%d\"\r\n\r\nx", "\r\n") + "\r\n--b--\r\n"
	rows := []struct {
		name, method, path, body string
		header                   []string
		status                   int
	}{
		{"keys of a task", "POST", "/tasks", `{"task":"long_running_task",` + keys(70_000, `"k%d":1`, ",") + "}", nil, 400},
		{"arguments by name", "POST", "/tasks", `{"task":"long_running_task","kwargs":{` + keys(70_000, `"k%d":1`, ",") + "}}", nil, 400},
		{"the same key", "POST", "/tasks", `{"task":"long_running_task",` + keys(100_000, `"k":%d`, ",") + "}", nil, 400},
		{"nested arrays", "POST", "/tasks", `{"task":"long_running_task","args":` + strings.Repeat("[", 500_000) + strings.Repeat("]", 500_000) + "}", nil, 400},
		{"nested links", "POST", "/tasks", strings.Repeat(`{"task":"long_running_task","link":[`, 20_000) + strings.Repeat("]}", 20_000), nil, 400},
		{"parameters of a query", "GET", "/?" + keys(2500, "%d", "&"), "", nil, 200},
		{"urlencoded form", "POST", "/upload", keys(140_000, "%d", "&"), []string{"Content-Type", form}, 400},
		{"urlencoded task", "POST", "/start-task", keys(140_000, "%d", "&"), []string{"Content-Type", form}, 200},
		{"multipart form", "POST", "/upload", parts, []string{"Content-Type", "multipart/form-data; boundary=b"}, 400},
		{"cookies", "GET", "/", "", []string{"Cookie", keys(1500, "c%d=x", "; ")}, 200},
		{"codings", "GET", "/", "", []string{"Accept-Encoding", keys(1500, "c%d;q=0", ", ")}, 200},
		{"ranges", "GET", "/upload/probe/0.txt", "", []string{"Range", "bytes=" + keys(2500, "%d-", ",")}, 0},
		{"entity tags", "GET", "/upload/probe/0.txt", "", []string{"If-None-Match", keys(2000, `"%d"`, ", ")}, 200},
		{"metadata", "POST", "/tus/", "", []string{"Tus-Resumable", "1.0.0", "Upload-Length", "1", "Upload-Metadata", keys(2000, "k%d", ",")}, 0},
		{"parts of an upload", "POST", "/tus/", "", []string{"Tus-Resumable", "1.0.0", "Upload-Concat", "final;" + keys(1000, "/tus/%d", " ")}, 0},
		{"origins of a proxy", "GET", "/", "", []string{"X-Forwarded-For", keys(1000, "10.0.0.%d", ",")}, 200},
	}
	var stop atomic.Bool
	var senders sync.WaitGroup
	for i := range 8 {
		senders.Go(func() {
			for n := 0; n < len(rows) || !stop.Load(); n++ {
				row := rows[(i*3+n)%len(rows)]
				status, err := send(g, row.method, row.path, row.body, row.header)
				if err != nil || status >= 500 || row.status != 0 && status != row.status {
					t.Errorf("%s: status %d, want %d; %v", row.name, status, row.status, err)
				}
			}
		})
	}
	p.await(t, probeRounds)
	stop.Store(true)
	senders.Wait()
}

// send sends a request without the checks of net/http on names and lengths of fields.
func send(g *harness.Server, method, path, body string, header []string) (status int, err error) {
	req, err := http.NewRequest(method, g.URL+path, strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	for pair := range slices.Chunk(header, 2) {
		req.Header.Set(pair[0], pair[1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}

// manyTasks sends groups of a thousand tasks with a megabyte of arguments, and thousands of
// single tasks. Each request gets a 202 response, or 503 if the store is busy.
func manyTasks(t *testing.T, g *harness.Server, p *prober) {
	const clients, each = 50, 100
	member := `{"task":"long_running_task","queue":"flood","args":["` + strings.Repeat("x", 980) + `"]}`
	group := `{"group":[` + strings.Repeat(member+",", 999) + member + "]}"
	single := `{"task":"long_running_task","queue":"flood"}`
	large := `{"task":"long_running_task","queue":"flood","args":["` + strings.Repeat("x", 1<<20-10) + `"]}`
	var accepted, busy atomic.Int64
	var senders sync.WaitGroup
	for client := range clients {
		senders.Go(func() {
			for i := range each {
				body := single
				switch {
				case i == 10 && client%5 == 0:
					body = group
				case i == 20:
					body = large
				}
				status, err := send(g, "POST", "/tasks", body, nil)
				switch {
				case err == nil && status == http.StatusAccepted:
					accepted.Add(1)
				case err == nil && status == http.StatusServiceUnavailable:
					busy.Add(1)
				default:
					t.Errorf("POST /tasks with %d bytes: status %d, %v", len(body), status, err)
				}
				if i%20 != 0 {
					continue
				}
				if status, err := send(g, "GET", "/tasks?q=nothing-has-this-text", "", nil); err != nil || status != http.StatusOK && status != http.StatusServiceUnavailable {
					t.Errorf("search: status %d, %v", status, err)
				}
			}
		})
	}
	p.await(t, probeRounds)
	senders.Wait()
	t.Logf("%d requests accepted, %d refused with 503", accepted.Load(), busy.Load())
	if accepted.Load() == 0 {
		t.Error("no request was accepted")
	}
}

// repeat writes content until the connection ends or done is closed.
func repeat(c net.Conn, content []byte, done <-chan struct{}) {
	for {
		select {
		case <-done:
			return
		default:
		}
		_ = c.SetWriteDeadline(time.Now().Add(time.Second)) // the server may pause this client
		if n, err := c.Write(content); err != nil {
			content = slices.Concat(content[n:], content[:n]) // continue at the same byte
			if !os.IsTimeout(err) {
				return
			}
		}
	}
}

// compressed returns the output of a compressor for n zero bytes.
func compressed(t *testing.T, n int64, compressor func(io.Writer) io.WriteCloser) []byte {
	t.Helper()
	var out bytes.Buffer
	w := compressor(&out)
	if _, err := io.Copy(w, &harness.Zeros{N: n}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
