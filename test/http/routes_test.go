package http_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/galeserver/gale/test/harness"
)

// TestEveryRoute sends good and bad requests to every route of a server with two
// serve children, with the embedded state server and with a redis-server. Expected
// bodies are regular expressions.
func TestEveryRoute(t *testing.T) {
	t.Parallel()
	up := slowSite(t, 0)
	reason := func(code int, words string) string {
		return fmt.Sprintf(`^\{"code":%d,"reason":"%s.*"\}$`, code, words)
	}
	rows := []struct {
		method, target, body string
		header               []string
		status               int
		want                 string
	}{
		{"GET", "/", "", nil, 200, "^Hello, friendly user!$"},
		{"GET", "/?greeting=Salutations", "", nil, 200, "^Salutations, friendly user!$"},
		{"GET", "/?greeting=", "", nil, 200, "^, friendly user!$"},
		{"HEAD", "/", "", nil, 200, "^$"},
		{"OPTIONS", "/", "", nil, 204, "^$"},
		{"PUT", "/", "", nil, 405, reason(405, "method not allowed")},
		{"GET", "/nothing", "", nil, 404, reason(404, "not found")},
		{"GET", "/healthz", "", nil, 200, "^ok\n$"},
		{"GET", "/delay?s=0", "", nil, 200, "^Hello, world!$"},
		{"GET", "/delay?s=0.01", "", nil, 200, "^Hello, world!$"},
		{"GET", "/delay?s=61", "", nil, 400, reason(400, "s: ")},
		{"GET", "/sleep?steps=0", "", nil, 200, `^Finish \d{4}-\d\d-\d\d \d\d:\d\d:\d\d$`},
		{"GET", "/sleep?steps=-1", "", nil, 400, reason(400, "steps: ")},
		{"GET", "/fetch", "", nil, 200, `Time Cost</div>\n<div[^>]*>\d+\.\d+</div>`},
		{"GET", "/fetch/blocking", "", nil, 200, `Time Cost</div>\n<div[^>]*>\d+\.\d+</div>`},
		{"GET", "/fetch/other", "", nil, 404, reason(404, "not found")},
		{"GET", "/limited", "", []string{"X-Real-IP", "192.0.2.1"}, 200, "^Request processed successfully.$"},
		{"GET", "/limited", "", []string{"X-Real-IP", "192.0.2.2"}, 200, "^Request processed successfully.$"},
		{"GET", "/cached", "", nil, 200, "^New response: Expensive operation result$"},
		{"GET", "/cached", "", nil, 200, "^Cached response: Expensive operation result$"},
		{"GET", "/static/a.txt", "", nil, 200, "^file$"},
		{"GET", "/static/", "", nil, 404, reason(404, "not found")},
		{"GET", "/start-task?data=x", "", nil, 401, reason(401, "a bearer token is needed")},
		{"GET", "/start-task?data=x", "", []string{"Authorization", "Bearer s3cret"}, 200, "^Task started: "},
		{"POST", "/start-task", "data=x", []string{"Authorization", "Bearer s3cret", "Content-Type", "application/x-www-form-urlencoded"}, 200, "^Task started: "},
		{"POST", "/tasks", `{"task":"long_running_task","id":"t1"}`, []string{"Authorization", "Bearer s3cret"}, 202, `"id":"t1"`},
		{"POST", "/tasks", `{"task":"long_running_task","id":"t1"}`, nil, 401, reason(401, "a bearer token is needed")},
		{"POST", "/tasks", `{"task":"nonsense"}`, []string{"Authorization", "Bearer s3cret"}, 404, reason(404, "")},
		{"POST", "/tasks", `{"task":"long_running_task","id":"t2"}`, []string{"Authorization", "Bearer s3cret", "Origin", "https://evil.example"}, 403, reason(403, "refused")},
		{"POST", "/tasks", `{"task":"long_running_task","id":"t2"}`, []string{"Authorization", "Bearer s3cret", "Sec-Fetch-Site", "cross-site"}, 403, reason(403, "refused")},
		{"GET", "/tasks/t1", "", []string{"Authorization", "Bearer s3cret"}, 200, `"id":"t1"`},
		{"GET", "/tasks/t2", "", []string{"Authorization", "Bearer s3cret"}, 404, reason(404, "no such task")},
		{"GET", "/tasks/t1", "", nil, 401, reason(401, "a bearer token is needed")},
		{"GET", "/tasks/t1/artifacts/x", "", []string{"Authorization", "Bearer s3cret"}, 404, reason(404, "no such artifact")},
		{"POST", "/upload", "", []string{"Authorization", "Bearer s3cret"}, 400, `"code":502`},
		{"POST", "/upload", "", nil, 401, reason(401, "a bearer token is needed")},
	}
	harness.OnStateServers(t, func(t *testing.T, flags []string) {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, "files"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "files", "a.txt"), []byte("file"), 0o600); err != nil {
			t.Fatal(err)
		}
		g := harness.Start(t, dir, append(flags, "-procs", "2", "-token", "s3cret", "-fetch-url", up.URL, "-static", "files")...)
		for _, row := range rows {
			req, err := http.NewRequest(row.method, g.URL+row.target, strings.NewReader(row.body))
			if err != nil {
				t.Fatal(err)
			}
			for i := 0; i < len(row.header); i += 2 {
				req.Header.Set(row.header[i], row.header[i+1])
			}
			req.Close = true // so that any process may get the next one
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatalf("%s %s: %v", row.method, row.target, err)
			}
			body := harness.ReadAll(t, resp)
			if resp.StatusCode != row.status || !regexp.MustCompile(row.want).MatchString(body) {
				t.Errorf("%s %s %q: %d %q; want %d %s", row.method, row.target, row.header, resp.StatusCode, body, row.status, row.want)
			}
			if resp.Header.Get("X-Request-Id") == "" || resp.Header.Get("X-Content-Type-Options") != "nosniff" || resp.StatusCode == http.StatusMethodNotAllowed && resp.Header.Get("Allow") == "" {
				t.Errorf("%s %s: %v", row.method, row.target, resp.Header)
			}
		}
	})
}

// attack sends raw bytes and returns the statuses of the responses until the
// connection is closed.
func attack(t *testing.T, addr, raw string) string {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(time.Minute))
	sent := make(chan struct{})
	go func() { // ends with the connection
		defer close(sent)
		_, _ = io.WriteString(nc, raw)
		_ = nc.(*net.TCPConn).CloseWrite()
	}()
	var statuses []string
	for in := bufio.NewReader(nc); ; {
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			break
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			break
		}
		statuses = append(statuses, fmt.Sprint(resp.StatusCode))
	}
	nc.Close()
	<-sent
	return strings.Join(statuses, " ")
}

// TestAttacks sends ambiguous requests, each followed by a valid one. The valid one
// gets a response only if the end of the request before it is certain. A request
// that is hidden in a body would start a task.
func TestAttacks(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, t.TempDir(), "-procs", "2", "-workers", "0")
	_, addr, _ := strings.Cut(g.URL, "://")
	const (
		host = "Host: test\r\n"
		form = "--b\r\nContent-Disposition: form-data; name=\"d\"; filename=\"NAME\"\r\n\r\nx\r\n--b--\r\n"
	)
	sized := func(line, more, body string) string {
		return fmt.Sprintf("%s HTTP/1.1\r\n%s%sContent-Length: %d\r\n\r\n%s", line, host, more, len(body), body)
	}
	hidden := sized("POST /tasks", "", `{"task":"long_running_task","id":"smuggled"}`)
	chunked := func(line, more, body string) string {
		return fmt.Sprintf("%s HTTP/1.1\r\n%s%sTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", line, host, more, len(body), body)
	}
	multipart := "Content-Type: multipart/form-data; boundary=b\r\n"
	for _, row := range []struct{ name, raw, want string }{
		{"hidden in a body that is not read", sized("GET /", "", hidden), "200 200"},
		{"hidden in a chunked body", chunked("GET /", "", hidden), "200 200"},
		{"hidden after a form", sized("POST /upload", multipart, strings.Replace(form, "NAME", "one", 1)+hidden), "200 200"},
		{"hidden after a chunked form", chunked("POST /upload", multipart, strings.Replace(form, "NAME", "two", 1)+hidden), "200 200"},
		{"hidden in a request without a route", sized("POST /none", "", hidden), "404 200"},
		{"half a body", "POST /tasks HTTP/1.1\r\n" + host + "Content-Length: 999999\r\n\r\n{", "400"},
		{"half a chunk", "POST /tasks HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\nff\r\n{", "400"},
		{"a body of a gigabyte with a limit of a megabyte", "POST /start-task HTTP/1.1\r\n" + host + "Content-Length: 1073741824\r\n\r\n" + strings.Repeat("x", 8<<20), "413"},
		{"a large chunked body", chunked("POST /start-task", "", strings.Repeat("x", 8<<20)), "413"},
		{"ten thousand fields", "GET / HTTP/1.1\r\n" + host + strings.Repeat("X-A: b\r\n", 10_000) + "\r\n", "431"},
		{"TE and CL", "POST /tasks HTTP/1.1\r\n" + host + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden, "400"},
		{"bare LF", "GET / HTTP/1.1\nHost: test\n\n", "400"},
		{"HTTP/9.9", "GET / HTTP/9.9\r\n" + host + "\r\n", "505"},
		{"obs-fold", "GET / HTTP/1.1\r\n" + host + "X: a\r\n b\r\n\r\n", "400"},
		{"negative length", "POST /tasks HTTP/1.1\r\n" + host + "Content-Length: -1\r\n\r\n", "400"},
		{"doubled length", "POST /tasks HTTP/1.1\r\n" + host + "Content-Length: 1\r\nContent-Length: 1\r\n\r\nx", "400"},
		{"absolute form", "GET http://elsewhere/healthz HTTP/1.1\r\n" + host + "\r\n", "200 200"},
		{"//", "GET //healthz HTTP/1.1\r\n" + host + "\r\n", "404 200"},
		{"%2e%2e", "GET /tasks/%2e%2e/healthz HTTP/1.1\r\n" + host + "\r\n", "404 200"},
		{"NUL, escaped", "GET /healthz%00 HTTP/1.1\r\n" + host + "\r\n", "404 200"},
		{"NUL", "GET /healthz\x00 HTTP/1.1\r\n" + host + "\r\n", "400"},
	} {
		t.Run(row.name, func(t *testing.T) {
			got := attack(t, addr, row.raw+"GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n")
			if got != row.want {
				t.Errorf("got %q, want %q", got, row.want)
			}
		})
	}
	if got := attack(t, addr, strings.ReplaceAll(hidden, "smuggled", "accepted")); got != "202" {
		t.Errorf("the hidden request is not valid by itself: %s", got)
	}
	if code, body, err := harness.Get(g.URL + "/tasks/smuggled"); code != http.StatusNotFound {
		t.Errorf("the hidden request has started a task: %d %s %v", code, body, err)
	}
	if code, _, err := harness.Get(g.URL + "/"); code != http.StatusOK {
		t.Errorf("GET / after the attacks: %d, %v", code, err)
	}
}

// A request with Expect: 100-continue and too large a body gets 413 before the body
// is sent.
func TestExpectIsRefused(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, t.TempDir(), "-procs", "1", "-workers", "0", "-token", "s3cret")
	for _, row := range []struct {
		authorization string
		status        int
	}{{"Authorization: Bearer s3cret\r\n", 413}, {"", 401}} {
		nc, err := net.Dial("tcp", strings.TrimPrefix(g.URL, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		_ = nc.SetDeadline(time.Now().Add(time.Minute))
		fmt.Fprintf(nc, "POST /start-task HTTP/1.1\r\nHost: test\r\n%sExpect: 100-continue\r\nContent-Length: 1073741824\r\n\r\n", row.authorization)
		resp, err := http.ReadResponse(bufio.NewReader(nc), nil)
		if err != nil || resp.StatusCode != row.status {
			t.Errorf("%v, %v; want %d", resp, err, row.status)
		}
		nc.Close()
	}
}
