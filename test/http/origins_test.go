package http_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/galeserver/gale/test/harness"
)

// Every route can be used by pages of the origins in -origins, whatever its
// response, and by pages of no other origin.
func TestOtherOrigins(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.txt"), []byte("file"), 0o600); err != nil {
		t.Fatal(err)
	}
	g := harness.Start(t, dir, "-procs", "2", "-token", "s3cret", "-origins", "https://app.example:443, https://*.shops.example", "-cors-headers", "X-Tenant",
		"-workers", "0", "-static", dir, "-max-body", "1000")
	const token = "Bearer s3cret"
	for _, row := range []struct {
		method, path, body string
		header             []string
		status             int
	}{
		{"GET", "/", "", nil, 200},
		{"HEAD", "/", "", nil, 200},
		{"OPTIONS", "/", "", nil, 204},
		{"PUT", "/", "", nil, 405},
		{"GET", "/nothing", "", nil, 404},
		{"GET", "/healthz", "", nil, 200},
		{"GET", "/delay?s=0", "", nil, 200},
		{"GET", "/delay?s=61", "", nil, 400},
		{"GET", "/sleep?steps=0", "", nil, 200},
		{"GET", "/fetch", "", nil, 404},
		{"GET", "/fetch/blocking", "", nil, 404},
		{"GET", "/limited", "", []string{"X-Real-IP", "$"}, 200},
		{"GET", "/limited", "", []string{"X-Real-IP", "$"}, 429},
		{"GET", "/cached", "", nil, 200},
		{"GET", "/static/a.txt", "", nil, 200},
		{"GET", "/static/a.txt", "", []string{"Range", "bytes=9-"}, 416},
		{"GET", "/static/nothing", "", nil, 404},
		{"GET", "/start-task?data=x", "", nil, 401},
		{"POST", "/start-task?data=x", "", []string{"Authorization", token}, 200},
		{"POST", "/tasks", `{"task":"nonsense"}`, []string{"Authorization", token}, 404},
		{"POST", "/tasks", `{"task":"long_running_task"}`, []string{"Authorization", token}, 202},
		{"POST", "/tasks", `{`, []string{"Authorization", token}, 400},
		{"GET", "/tasks", "", nil, 401},
		{"GET", "/tasks", "", []string{"Authorization", token}, 200},
		{"GET", "/tasks/types", "", []string{"Authorization", token}, 200},
		{"GET", "/tasks/none", "", []string{"Authorization", token}, 404},
		{"DELETE", "/tasks/none", "", []string{"Authorization", token}, 404},
		{"POST", "/tasks/none/retry", "", []string{"Authorization", token}, 404},
		{"GET", "/tasks/none/log", "", []string{"Authorization", token}, 404},
		{"GET", "/tasks/none/artifacts/a.png", "", []string{"Authorization", token}, 404},
		{"GET", "/tasks/none/watch", "", []string{"Authorization", token}, 404},
		{"GET", "/workflows/none", "", []string{"Authorization", token}, 404},
		{"POST", "/upload", "directory=a&filename=a.txt&body=x", []string{"Authorization", token, "Content-Type", "application/x-www-form-urlencoded"}, 415},
		{"POST", "/upload", "", nil, 401},
		{"GET", "/upload", "", []string{"Authorization", token}, 426},
		{"GET", "/upload/a/none", "", []string{"Authorization", token}, 404},
		{"DELETE", "/upload?directory=a&filename=none", "", []string{"Authorization", token}, 200},
		{"OPTIONS", "/tus/", "", nil, 204},
		{"POST", "/tus/", "", []string{"Authorization", token, "Tus-Resumable", "0.2.2"}, 412},
		{"HEAD", "/tus/AAAAAAAAAAAAAAAAAAAAAAAAAA", "", []string{"Authorization", token, "Tus-Resumable", "1.0.0"}, 404},
		{"POST", "/publish/a", "x", []string{"Authorization", token}, 200},
		{"POST", "/publish/a", strings.Repeat("x", 1001), []string{"Authorization", token}, 413},
		{"GET", "/channels/a", "", []string{"Authorization", token}, 426},
		{"GET", "/events/a", "", []string{"Authorization", token}, 200},
		{"GET", "/events/a", "", nil, 401},
		{"GET", "/longpoll?s=0", "", nil, 200},
		{"GET", "/websocket", "", nil, 426},
		{"GET", "/console", "", nil, 303},
		{"GET", "/console/app.js", "", nil, 401},
		{"GET", "/console/style.css", "", nil, 200},
		{"GET", "/console/login", "", nil, 200},
	} {
		for i, page := range []struct{ origin, allowed string }{
			{"https://app.example", "https://app.example"},
			{"https://a.b.shops.example", "https://a.b.shops.example"},
			{"https://shops.example", ""},
			{"https://evil.example", ""},
			{"null", ""},
			{"", ""},
		} {
			status, fields := row.status, []string{"Tus-Resumable", "1.0.0"}
			for _, value := range row.header {
				fields = append(fields, strings.Replace(value, "$", "192.0.2."+string(rune('1'+i)), 1))
			}
			if page.origin != "" {
				fields = append(fields, "Origin", page.origin)
			}
			resp := head(t, row.method, g.URL+row.path, row.body, fields...)
			refused := page.origin != "" && page.allowed == "" && resp.StatusCode == http.StatusForbidden
			if resp.StatusCode != status && !refused {
				t.Errorf("%s %s from %q: %d, want %d", row.method, row.path, page.origin, resp.StatusCode, status)
			}
			h := resp.Header
			exposed := h.Get("Access-Control-Expose-Headers")
			if h.Get("Access-Control-Allow-Origin") != page.allowed || !strings.Contains(h.Get("Vary"), "Origin") || h.Get("Access-Control-Allow-Credentials") != "" ||
				(page.allowed != "") != (strings.Contains(exposed, "Location") && strings.Contains(exposed, "Upload-Offset") && strings.Contains(exposed, "X-Tenant")) {
				t.Errorf("%s %s from %q: %v", row.method, row.path, page.origin, h)
			}
			if page.origin == "" || i > 3 {
				continue
			}
			// A browser sends a preflight request first, without the token.
			resp = head(t, "OPTIONS", g.URL+row.path, "", "Origin", page.origin, "Access-Control-Request-Method", row.method, "Access-Control-Request-Headers", "authorization,x-tenant")
			h = resp.Header
			allowed := page.allowed != ""
			if h.Get("Access-Control-Allow-Origin") != page.allowed || allowed && resp.StatusCode != http.StatusNoContent ||
				allowed != strings.Contains(h.Get("Access-Control-Allow-Methods"), row.method) ||
				allowed != (strings.Contains(h.Get("Access-Control-Allow-Headers"), "Authorization") && strings.Contains(h.Get("Access-Control-Allow-Headers"), "X-Tenant")) {
				t.Errorf("preflight for %s %s from %q: %d %v", row.method, row.path, page.origin, resp.StatusCode, h)
			}
		}
	}
}

// A page of another origin cannot write, whether the server has a token or not, and
// even if it knows the token. A page of the server itself can, and so can a client that is
// no browser.
func TestWritesFromOtherOrigins(t *testing.T) {
	t.Parallel()
	for _, token := range []string{"", "s3cret"} {
		flags, allowed := []string{"-procs", "1", "-workers", "0"}, []string{}
		if token != "" {
			flags, allowed = append(flags, "-token", token), []string{"Authorization", "Bearer " + token}
		}
		g := harness.Start(t, t.TempDir(), flags...)
		for _, row := range []struct {
			name   string
			fields []string
			status int
		}{
			{"another origin", []string{"Origin", "https://evil.example"}, 403},
			{"a sandboxed page", []string{"Origin", "null"}, 403},
			{"another site by Fetch Metadata", []string{"Sec-Fetch-Site", "cross-site"}, 403},
			{"another port", []string{"Sec-Fetch-Site", "same-site", "Origin", "http://127.0.0.1:1"}, 403},
			{"the own page", []string{"Sec-Fetch-Site", "same-origin", "Origin", g.URL}, 202},
			{"the own page in an old browser", []string{"Origin", g.URL}, 202},
			{"no browser", nil, 202},
		} {
			resp := head(t, "POST", g.URL+"/tasks", `{"task":"long_running_task"}`, append(row.fields, allowed...)...)
			if resp.StatusCode != row.status {
				t.Errorf("token %q, %s: %d, want %d", token, row.name, resp.StatusCode, row.status)
			}
			if token == "" {
				continue
			}
			want := http.StatusUnauthorized
			if row.status == http.StatusForbidden {
				want = http.StatusForbidden
			}
			if resp := head(t, "POST", g.URL+"/tasks", `{"task":"long_running_task"}`, row.fields...); resp.StatusCode != want {
				t.Errorf("%s without the token: %d, want %d", row.name, resp.StatusCode, want)
			}
		}
	}
}

// head returns the response to a request without its body, which may be an endless
// stream.
func head(t *testing.T, method, url, body string, header ...string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	client := http.Client{
		Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	_ = resp.Body.Close()
	return resp
}

// WebSockets can be opened by pages of the same origins, wildcards included.
func TestOtherOriginsWebSockets(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, t.TempDir(), "-procs", "1", "-workers", "0", "-origins", "https://*.shops.example")
	for origin, status := range map[string]int{"https://a.shops.example": 101, "https://shops.example": 403, "https://evil.example": 403, "null": 403} {
		resp := head(t, "GET", g.URL+"/channels/a", "", "Origin", origin, "Connection", "Upgrade", "Upgrade", "websocket",
			"Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA==")
		if resp.StatusCode != status {
			t.Errorf("from %s: %d, want %d", origin, resp.StatusCode, status)
		}
	}
}
