//go:build e2e

package http_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/galeserver/gale/test/harness"
)

// TestE2EOtherOrigins loads pages of other origins in Debian's Chromium. They use the
// server by fetch, tus-js-client and EventSource.
func TestE2EOtherOrigins(t *testing.T) {
	library := filepath.Join(harness.InstallNPM(t, harness.TusJSClient), "node_modules/tus-js-client/dist/tus.min.js")
	reports := make(chan map[string]string, 1)
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/report":
			var report map[string]string
			if err := json.NewDecoder(r.Body).Decode(&report); err != nil {
				t.Errorf("report: %v", err)
			}
			reports <- report
		case "/tus.min.js":
			http.ServeFile(w, r, library)
		case "/":
			http.ServeFile(w, r, "test/http/testdata/origins.html")
		default:
			http.NotFound(w, r)
		}
	}))
	defer page.Close()
	port := page.URL[strings.LastIndexByte(page.URL, ':'):]
	named := map[string]string{
		"upload": `200 {"code":200,`, "again": `409 {"code":501,`, "notFound": `404 {"code":404,"reason":"not found"}`, "notAllowed": `405 {"code":405,`,
		"tooLarge": `413 {"code":413,`, "task": "202 /tasks/", "tasks": "200 1 tasks", "range": "206 xxxxx bytes 5-9/100000 \"", "discovery": "204 1.0.0",
		"tus": "stored true", "events": "news",
	}
	for _, row := range []struct {
		name, page, origins, token string
		want                       map[string]string // prefix of each result
	}{
		{"named", page.URL, page.URL, "", named},
		{"subdomain", "http://app.localhost" + port, "https://other.example,http://*.localhost" + port, "s3cret", named},
		{"unnamed", page.URL, "http://app.localhost" + port, "", nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			dir := t.TempDir()
			args := []string{"-workers", "0", "-on-upload", "", "-origins", row.origins, "-cors-headers", "X-Tenant"}
			if row.token != "" {
				args = append(args, "-token", row.token)
			}
			g := harness.Start(t, dir, args...)
			q := url.Values{"base": {g.URL}, "name": {row.name}, "token": {row.token}}
			browse(t, row.page+"/?"+q.Encode())
			var report map[string]string
			select {
			case report = <-reports:
			case <-time.After(2 * time.Minute):
				t.Fatal("the browser sends no report")
			}
			for use := range named {
				want := row.want[use]
				switch {
				case row.want == nil && use == "events":
					want = "refused"
				case row.want == nil && use == "tus":
					want = "tus: failed"
				case row.want == nil:
					want = "Failed to fetch"
				case use == "events" && row.token != "":
					want = "refused"
				}
				if !strings.HasPrefix(report[use], want) {
					t.Errorf("%s: %q, want %q", use, report[use], want)
				}
			}
			content, err := os.ReadFile(filepath.Join(dir, "data/uploads", row.name, "a.bin"))
			if row.want == nil {
				if err == nil {
					t.Error("a page of an origin that is not allowed has stored a file")
				}
				return
			}
			if err != nil || string(content) != strings.Repeat("x", 100_000) {
				t.Errorf("the form's file: %d bytes, %v", len(content), err)
			}
			if content, err := os.ReadFile(filepath.Join(dir, "data/uploads", row.name, "tus.bin")); err != nil || string(content) != strings.Repeat("y", 300_000) {
				t.Errorf("the resumable file: %d bytes, %v", len(content), err)
			}
			if words := strings.Fields(report["task"]); len(words) != 3 || words[2] == "null" {
				t.Errorf("the page cannot read X-Request-Id: %q", report["task"])
			}
		})
	}
}

// browse opens a page in a new browser, which is killed at the end of the test.
func browse(t *testing.T, page string) {
	t.Helper()
	browser := exec.Command("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--user-data-dir="+t.TempDir(), page)
	browser.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := browser.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-browser.Process.Pid, syscall.SIGKILL) // its process group
		_ = browser.Wait()
	})
}
