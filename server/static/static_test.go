package static

import (
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/server"
)

// site starts a server for a folder with all kinds of files. It returns the path of the folder
// and the URL below which it is served.
func site(t *testing.T) (dir, url string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "static")
	write := func(name, content string, age time.Duration) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		when := time.Now().Add(-age)
		if err := os.Chtimes(path, when, when); err != nil {
			t.Fatal(err)
		}
	}
	write("a.txt", "0123456789", time.Hour)
	write("sub/page.html", strings.Repeat("<p>hello</p>", 1000), time.Hour)
	write("app.js", "plain", time.Hour)
	write("app.js.br", "brotli", time.Minute)
	write("app.js.gz", "gzipped", time.Minute)
	write("old.css", strings.Repeat("x", 2000), time.Hour)
	write("old.css.gz", "stale", 2*time.Hour)
	write("large.txt", strings.Repeat("x", 3<<20), time.Hour)
	write("noise.bin", strings.Repeat("x", 5000), time.Hour)
	write("empty.txt", "", time.Hour)
	write(".secret", "hidden", time.Hour)
	write(".git/config", "hidden", time.Hour)
	write("../outside.txt", "outside", time.Hour)
	for link, target := range map[string]string{"inside.txt": "a.txt", "escape.txt": "../outside.txt", "absolute.txt": "/etc/passwd"} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe.txt"), 0o600); err != nil {
		t.Fatal(err)
	}
	folder, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	srv, err := server.New(server.Options{}, []server.Route{{Method: "GET", Path: "/static/{name:*}", Handler: func(ctx *fasthttp.RequestCtx) error {
		return folder.Serve(ctx, server.Param(ctx, "name"))
	}}})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- srv.Run(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := folder.Close(); err != nil {
			t.Error(err)
		}
	})
	return dir, "http://" + ln.Addr().String() + "/static/"
}

func fetch(t *testing.T, method, url string, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest(method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	transport := &http.Transport{DisableCompression: true, DisableKeepAlives: true}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

func TestServe(t *testing.T) {
	t.Parallel()
	_, url := site(t)
	for _, row := range []struct {
		name   string
		header []string
		status int
		body   string
		want   map[string]string
	}{
		{"a.txt", nil, 200, "0123456789", map[string]string{"Content-Type": "text/plain; charset=utf-8", "Cache-Control": "no-cache", "Accept-Ranges": "bytes", "Vary": "Accept-Encoding"}},
		{"a.txt?v=1", nil, 200, "0123456789", map[string]string{"Cache-Control": "public, max-age=31536000, immutable"}},
		{"a%2etxt", nil, 200, "0123456789", nil},
		{"inside.txt", nil, 200, "0123456789", nil},
		{"empty.txt", nil, 200, "", map[string]string{"Content-Length": "0"}},

		{"a.txt", []string{"Range", "bytes=2-4"}, 206, "234", map[string]string{"Content-Range": "bytes 2-4/10", "Content-Length": "3"}},
		{"a.txt", []string{"Range", "bytes=7-"}, 206, "789", map[string]string{"Content-Range": "bytes 7-9/10"}},
		{"a.txt", []string{"Range", "bytes=-2"}, 206, "89", map[string]string{"Content-Range": "bytes 8-9/10"}},
		{"a.txt", []string{"Range", "bytes=8-99"}, 206, "89", map[string]string{"Content-Range": "bytes 8-9/10"}},
		{"a.txt", []string{"Range", "bytes=8-99999999999999999999"}, 206, "89", map[string]string{"Content-Range": "bytes 8-9/10"}},
		{"a.txt", []string{"Range", "bytes=-99999999999999999999"}, 206, "0123456789", map[string]string{"Content-Range": "bytes 0-9/10"}},
		{"a.txt", []string{"Range", "bytes=99999999999999999999-"}, 416, "", map[string]string{"Content-Range": "bytes */10"}},
		{"a.txt", []string{"Range", "bytes=10-"}, 416, "", map[string]string{"Content-Range": "bytes */10"}},
		{"a.txt", []string{"Range", "bytes=-0"}, 416, "", map[string]string{"Content-Range": "bytes */10"}},
		{"a.txt", []string{"Range", "bytes=4-2"}, 200, "0123456789", nil},
		{"a.txt", []string{"Range", "bytes=0-1,3-4"}, 200, "0123456789", nil},
		{"a.txt", []string{"Range", "lines=1-2"}, 200, "0123456789", nil},
		{"a.txt", []string{"Range", "bytes=2-4", "If-Range", `"other"`}, 200, "0123456789", nil},

		{"app.js", []string{"Accept-Encoding", "gzip, deflate, br"}, 200, "brotli", map[string]string{"Content-Encoding": "br", "Content-Type": "text/javascript; charset=utf-8"}},
		{"app.js", []string{"Accept-Encoding", "br;q=0, *"}, 200, "gzipped", map[string]string{"Content-Encoding": "gzip"}},
		{"app.js", []string{"Accept-Encoding", "identity"}, 200, "plain", map[string]string{"Content-Encoding": ""}},
		{"app.js", []string{"Accept-Encoding", "identity", "Accept-Encoding", "br"}, 200, "brotli", map[string]string{"Content-Encoding": "br"}},
		{"app.js", []string{"Accept-Encoding", "br", "Range", "bytes=0-1"}, 206, "pl", map[string]string{"Content-Encoding": ""}},
		{"noise.bin", []string{"Accept-Encoding", "gzip"}, 200, strings.Repeat("x", 5000), map[string]string{"Content-Encoding": "", "Content-Type": "application/octet-stream"}},
		{"large.txt", []string{"Accept-Encoding", "gzip"}, 200, strings.Repeat("x", 3<<20), map[string]string{"Content-Encoding": ""}},

		{"", nil, 404, "", nil}, {"none.txt", nil, 404, "", nil}, {"sub", nil, 404, "", nil}, {"sub/", nil, 404, "", nil},
		{"a.txt/", nil, 404, "", nil}, {"a.txt/x", nil, 404, "", nil}, {"pipe.txt", nil, 404, "", nil},
		{".secret", nil, 404, "", nil}, {"%2esecret", nil, 404, "", nil}, {".git/config", nil, 404, "", nil}, {"sub/.git", nil, 404, "", nil},
		{"../outside.txt", nil, 404, "", nil}, {"%2e%2e/outside.txt", nil, 404, "", nil}, {"..%2foutside.txt", nil, 404, "", nil},
		{"sub%2f..%2f..%2foutside.txt", nil, 404, "", nil}, {"escape.txt", nil, 404, "", nil}, {"absolute.txt", nil, 404, "", nil},
		{"%2fetc/passwd", nil, 404, "", nil}, {"/etc/passwd", nil, 404, "", nil}, {"a.txt%00", nil, 404, "", nil},
	} {
		t.Run(fmt.Sprint(row.name, row.header), func(t *testing.T) {
			resp, body := fetch(t, "GET", url+row.name, row.header...)
			if resp.StatusCode != row.status || row.status < 300 && body != row.body || strings.Contains(body, "hidden") || strings.Contains(body, "outside") {
				t.Fatalf("%d %.100q", resp.StatusCode, body)
			}
			for name, want := range row.want {
				if got := resp.Header.Get(name); got != want {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
		})
	}
}

func TestCompression(t *testing.T) {
	t.Parallel()
	_, url := site(t)
	for name, want := range map[string]string{"sub/page.html": strings.Repeat("<p>hello</p>", 1000), "old.css": strings.Repeat("x", 2000)} {
		resp, body := fetch(t, "GET", url+name, "Accept-Encoding", "gzip")
		if resp.Header.Get("Content-Encoding") != "gzip" || len(body) > len(want)/4 {
			t.Fatalf("%s: %v, %d bytes", name, resp.Header, len(body))
		}
		r, err := gzip.NewReader(strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); string(got) != want || err != nil {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
		plain, _ := fetch(t, "GET", url+name)
		if plain.Header.Get("Etag") == resp.Header.Get("Etag") {
			t.Errorf("%s: two content codings have the same ETag", name)
		}
	}
}

func TestConditionalRequests(t *testing.T) {
	t.Parallel()
	dir, url := site(t)
	first, _ := fetch(t, "GET", url+"a.txt")
	tag, modified := first.Header.Get("Etag"), first.Header.Get("Last-Modified")
	if tag == "" || modified == "" {
		t.Fatalf("%v", first.Header)
	}
	for _, row := range []struct {
		status int
		header []string
	}{
		{304, []string{"If-None-Match", tag}}, {304, []string{"If-None-Match", `"x", W/` + tag}}, {304, []string{"If-None-Match", "*"}},
		{200, []string{"If-None-Match", `"x"`}}, {200, []string{"If-None-Match", `"x"`, "If-Modified-Since", modified}},
		{304, []string{"If-None-Match", `"x"`, "If-None-Match", tag}}, {200, []string{"If-None-Match", `"a,*,b"`}},
		{200, []string{"If-Modified-Since", modified, "If-Modified-Since", modified}},
		{200, []string{"Range", "bytes=0-0", "Range", "bytes=0-0"}}, {200, []string{"Range", "bytes=0-0", "If-Range", tag, "If-Range", tag}},
		{304, []string{"If-Modified-Since", modified}}, {200, []string{"If-Modified-Since", "Mon, 01 Jan 2001 00:00:00 GMT"}},
		{200, []string{"If-Modified-Since", "yesterday"}},
		{206, []string{"Range", "bytes=0-0", "If-Range", tag}}, {206, []string{"Range", "bytes=0-0", "If-Range", modified}},
	} {
		resp, body := fetch(t, "GET", url+"a.txt", row.header...)
		if resp.StatusCode != row.status || row.status == 304 && (body != "" || resp.Header.Get("Etag") != tag) {
			t.Errorf("%q: %d %q %v", row.header, resp.StatusCode, body, resp.Header)
		}
	}
	// The compressed file is younger than the original, whose time is in Last-Modified.
	variant, _ := fetch(t, "GET", url+"app.js", "Accept-Encoding", "br")
	if resp, _ := fetch(t, "GET", url+"app.js", "Accept-Encoding", "br", "If-Modified-Since", variant.Header.Get("Last-Modified")); resp.StatusCode != http.StatusNotModified {
		t.Errorf("compressed file since %s: %d", variant.Header.Get("Last-Modified"), resp.StatusCode)
	}
	head, body := fetch(t, "HEAD", url+"a.txt")
	if head.StatusCode != http.StatusOK || body != "" || head.ContentLength != 10 || head.Header.Get("Etag") != tag {
		t.Errorf("HEAD: %v", head)
	}
	if err := os.WriteFile(filepath.Join(dir, "a.txt"), []byte("changed"), 0o600); err != nil {
		t.Fatal(err)
	}
	if resp, body := fetch(t, "GET", url+"a.txt", "If-None-Match", tag); resp.StatusCode != http.StatusOK || body != "changed" {
		t.Errorf("after a change: %d %q", resp.StatusCode, body)
	}
}

func TestOpenMissingFolder(t *testing.T) {
	if _, err := Open(filepath.Join(t.TempDir(), "none"), Options{}); err == nil {
		t.Error("Open succeeded for a missing folder")
	}
}
