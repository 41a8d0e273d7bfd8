package proxies_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/galeserver/gale/test/harness"
)

// With -base-path every link, redirect and cookie contains the path, and requests
// reach their routes with the path and without it.
func TestBasePath(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, t.TempDir(), "-procs", "2", "-workers", "0", "-token", "s3cret", "-base-path", "/gale")
	const token = "Authorization: Bearer s3cret"
	for _, prefix := range []string{"", "/gale"} {
		for _, id := range []string{"a", "b"} {
			resp, text := harness.Request(t, "POST", g.URL+prefix+"/tasks", `{"task":"long_running_task","id":"`+id+prefix[min(1, len(prefix)):]+`"}`, "Authorization", "Bearer s3cret")
			want := "/gale/tasks/" + id + prefix[min(1, len(prefix)):]
			if resp.StatusCode != http.StatusAccepted || resp.Header.Get("Location") != want {
				t.Errorf("POST %s/tasks: %d %s, location %q", prefix, resp.StatusCode, text, resp.Header.Get("Location"))
			}
		}
		_, text := harness.Request(t, "GET", g.URL+prefix+"/tasks?limit=1", "", "Authorization", "Bearer s3cret")
		var page struct{ Next string }
		if err := json.Unmarshal([]byte(text), &page); err != nil || !strings.HasPrefix(page.Next, "/gale/tasks?") {
			t.Errorf("GET %s/tasks: next is %q, %v", prefix, page.Next, err)
		}
		if resp, text := harness.Request(t, "GET", g.URL+page.Next, "", "Authorization", "Bearer s3cret"); resp.StatusCode != http.StatusOK || !strings.Contains(text, `"id"`) {
			t.Errorf("the next page: %d %s", resp.StatusCode, text)
		}
		uploadInParts(t, g, prefix, token)
	}
	b := harness.NewBrowser(t, g)
	resp, _ := b.Expect("GET", "/gale/console", "none", "", 303)
	if got := resp.Header.Get("Location"); got != "/gale/console/login" {
		t.Errorf("the redirect to the login is %q", got)
	}
	resp, _ = b.Expect("POST", "/gale/console/login", "same-origin", "token=s3cret", 303)
	if cookie := resp.Header.Get("Set-Cookie"); resp.Header.Get("Location") != "/gale/console" || !strings.Contains(strings.ToLower(cookie), "path=/gale;") {
		t.Errorf("after the login: Location %q, cookie %q", resp.Header.Get("Location"), cookie)
	}
	b.Expect("GET", "/gale/console", "none", "", 200)
	b.Expect("GET", "/gale/console/app.js", "same-origin", "", 200)
	b.Expect("GET", "/tasks", "same-origin", "", 401) // the cookie is for the path only
	b.Expect("GET", "/gale/healthz", "none", "", 200)
	b.Expect("GET", "/healthz", "none", "", 200)
	b.Expect("GET", "/galehealthz", "none", "", 404)
	b.Expect("POST", "/gale/console/logout", "same-origin", "", 303)
	b.Expect("GET", "/gale/console", "none", "", 303)
}

// uploadInParts uploads a file in two parts and joins them, by the URLs in Location.
func uploadInParts(t *testing.T, g *harness.Server, prefix, token string) {
	t.Helper()
	var parts []string
	for _, content := range []string{"first", "other"} {
		a, err := harness.TusDo(g, "POST", prefix+"/tus/", strings.NewReader(content), token, harness.OffsetStream, "Upload-Length: 5", "Upload-Concat: partial")
		if err != nil || a.Status != 201 || !strings.HasPrefix(a.Header.Get("Location"), "/gale/tus/") {
			t.Fatalf("POST %s/tus/: %+v, %v", prefix, a, err)
		}
		parts = append(parts, a.Header.Get("Location"))
	}
	name := "whole" + strings.TrimPrefix(prefix, "/")
	a, err := harness.TusDo(g, "POST", prefix+"/tus/", nil, token, harness.TusMetadata("filename", name), "Upload-Concat: final;"+parts[0]+" https://front.example/elsewhere"+parts[1])
	if err != nil || a.Status != 201 || !strings.HasPrefix(a.Header.Get("Location"), "/gale/tus/") {
		t.Fatalf("join %q: %+v, %v", parts, a, err)
	}
	if a, err := harness.TusDo(g, "HEAD", a.Header.Get("Location"), nil, token); err != nil || a.Status != 200 || a.Header.Get("Upload-Length") != "10" {
		t.Errorf("HEAD: %+v, %v", a, err)
	}
}
