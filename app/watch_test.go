package app

import (
	"bufio"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/galeserver/gale/internal/testutil"
)

// follow connects to the event stream of -watch and returns its lines.
func follow(t *testing.T, url string) *bufio.Scanner {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/-/-/reload", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	if kind := resp.Header.Get("Content-Type"); resp.StatusCode != http.StatusOK || kind != "text/event-stream" {
		t.Fatalf("event stream: %d %s", resp.StatusCode, kind)
	}
	return bufio.NewScanner(resp.Body)
}

// next returns the first line that begins with prefix, or "" at the end of the stream.
func next(lines *bufio.Scanner, prefix string) string {
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), prefix) {
			return lines.Text()
		}
	}
	return ""
}

func save(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// With -watch, a saved template, configuration or static file takes effect without a
// signal, and a fault leaves the running server as it is.
func TestWatch(t *testing.T) {
	t.Parallel()
	pages, files, conf := folderOf(t, map[string]string{"page.html": "<body>first</body>"}), folderOf(t, map[string]string{"a.css": "first"}), t.TempDir()
	save(t, conf, "conf", "greeting Hello\n")
	url, _, log := start(t, nil, "-watch", "-procs", "2", "-templates", pages, "-static", files, "-config", filepath.Join(conf, "conf"))
	page := func() string { _, _, body := send(t, "GET", url+"/page/page.html"); return body }
	await := func(what string, ok func() bool) {
		t.Helper()
		testutil.Eventually(t, what, func() bool { // of both processes
			for range 8 {
				if !ok() {
					return false
				}
			}
			return true
		})
	}
	awaitLog(t, log, "msg=ready")
	found := regexp.MustCompile(`^<body>first<script src="(/-/-/reload\.js)\?files=[0-9a-f]+&amp;started=\d+&amp;version=[0-9a-f]+" defer></script></body>$`).FindStringSubmatch(page())
	if found == nil {
		t.Fatalf("the page has no script: %s", page())
	}
	if status, header, body := send(t, "GET", url+found[1]); status != 200 || header.Get("Content-Type") != "text/javascript; charset=utf-8" || !strings.Contains(body, "EventSource") {
		t.Errorf("script: %d %v", status, header)
	}

	lines := follow(t, url)
	release := next(lines, "data: ")
	save(t, files, "a.css", "second")
	if got := next(lines, "event: "); got != "event: changed" {
		t.Errorf("after a static file was saved: %s", got)
	}
	if strings.Contains(log(), "file changed, reloading\" ") {
		t.Errorf("a static file caused a reload: %s", log())
	}

	save(t, pages, "page.html", "<body>second</body>")
	if got := next(lines, "event: changed"); got != "" {
		t.Errorf("the stream of a replaced process: %s", got)
	}
	await("the new template is used", func() bool { return strings.HasPrefix(page(), "<body>second") })
	awaitLog(t, log, "msg=reloaded release=1") // until then the old release may still serve
	if again := next(follow(t, url), "data: "); again == "" || again == release {
		t.Errorf("the new release is %s, the old one was %s", again, release)
	}

	save(t, pages, "page.html", "<body>{{if}}</body>")
	awaitLog(t, log, "reload failed, nothing is changed")
	if body := page(); !strings.HasPrefix(body, "<body>second") {
		t.Errorf("after a refused reload: %s", body)
	}
	save(t, pages, "page.html", "<body>third</body>")
	await("the repaired template is used", func() bool { return strings.HasPrefix(page(), "<body>third") })
	awaitLog(t, log, "msg=reloaded release=2") // a change during a reload is found without a line that names the file

	save(t, conf, "conf", "greeting Salut\n")
	await("the new configuration is used", func() bool {
		_, _, body := send(t, "GET", url+"/hello/ada")
		return strings.HasPrefix(body, "Salut")
	})
	awaitLog(t, log, "msg=reloaded release=3") // a SIGTERM that meets execve ends the master at once
	for _, file := range []string{filepath.Join(pages, "page.html"), filepath.Join(conf, "conf")} {
		if !strings.Contains(log(), `msg="file changed, reloading" file=`+file) {
			t.Errorf("the log does not name %s: %s", file, log())
		}
	}
}

// Without -watch, pages have no script, and the routes do not exist.
func TestNoWatch(t *testing.T) {
	t.Parallel()
	url, _, _ := start(t, nil, "-templates", folderOf(t, map[string]string{"page.html": "<body></body>"}))
	if _, _, body := send(t, "GET", url+"/page/page.html"); body != "<body></body>" {
		t.Errorf("page: %s", body)
	}
	if _, _, body := send(t, "GET", url+"/-/-/reload.js"); body != "page -/-/reload.js" {
		t.Errorf("script: %s", body)
	}
}
