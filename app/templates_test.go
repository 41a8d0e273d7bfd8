package app

import (
	"errors"
	"html/template"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"

	"github.com/galeserver/gale/app/internal/config"
)

// shopTemplates are the templates of the application shop.
var shopTemplates = fstest.MapFS{
	"_layout.html": {Data: []byte(`<html><body>{{template "content" .}}</body></html>`)},
	"page.html":    {Data: []byte(`{{define "content"}}{{shout "own"}} {{link "/next"}} {{static_url "a.css"}}{{end}}{{template "_layout.html" .}}`)},
	"fails.html":   {Data: []byte(`half {{index .Missing 1}}`)},
}

var shopFuncs = template.FuncMap{"shout": strings.ToUpper}

// folderOf writes files into a temporary folder.
func folderOf(t *testing.T, files map[string]string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestTemplatesOfTheApplication(t *testing.T) {
	t.Parallel()
	static := folderOf(t, map[string]string{"a.css": "first"})
	url, _, log := start(t, nil, "-static", static, "-base-path", "/base")
	status, header, body := send(t, "GET", url+"/page/page.html")
	if want := `<html><body>OWN /base/next /base/-/static/a.css?v=a7937b64b8caa58f0372</body></html>`; status != 200 || body != want {
		t.Errorf("%d %s", status, body)
	}
	if kind := header.Get("Content-Type"); kind != "text/html; charset=utf-8" {
		t.Errorf("content type: %s", kind)
	}
	if _, _, body := send(t, "GET", url+"/page/page.html", "X-Forwarded-Prefix: /proxy"); !strings.Contains(body, " /proxy/next /proxy/-/static/a.css?v=") {
		t.Errorf("with the prefix of a proxy: %s", body)
	}
	for _, page := range []string{"fails.html", "none.html", "_layout.html", "%20page.html"} {
		if status, _, body := send(t, "GET", url+"/page/"+page); status != 500 || strings.Contains(body, "half") || strings.Contains(body, "page.html") {
			t.Errorf("%s: %d %s", page, status, body)
		}
	}
	awaitLog(t, log, "no such page; there are: fails.html, page.html")
}

// A template with a fault is found by check, before anything is bound, and refuses a reload.
func TestTemplateFaults(t *testing.T) {
	t.Parallel()
	dir := folderOf(t, map[string]string{"page.html": "first"})
	url, master, log := start(t, nil, "-templates", dir)
	if _, _, body := send(t, "GET", url+"/page/page.html"); body != "first" {
		t.Errorf("-templates does not replace the application's own: %s", body)
	}
	if err := os.WriteFile(filepath.Join(dir, "page.html"), []byte("second\n{{end}}"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, _, err := run(t, shop(), nil, "check", "-templates", dir)
	if faults, ok := errors.AsType[config.Faults](err); !ok || !strings.Contains(faults.Error(), "page.html:2: unexpected {{end}}") {
		t.Errorf("check: %v", err)
	}
	if err := master.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	awaitLog(t, log, "reload failed, nothing is changed")
	if !strings.Contains(log(), "page.html:2") {
		t.Errorf("the log does not name the line: %s", log())
	}
	if _, _, body := send(t, "GET", url+"/page/page.html"); body != "first" {
		t.Errorf("after a refused reload: %s", body)
	}
	for _, row := range []struct{ folder, want string }{
		{filepath.Join(dir, "none"), "-templates: stat"}, {filepath.Join(dir, "page.html"), "is not a folder"},
	} {
		if _, _, err := run(t, shop(), nil, "check", "-templates", row.folder); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v", row.folder, err)
		}
	}
}

// Without -static, static_url logs one error, however many pages use it.
func TestStaticURLWithoutStatic(t *testing.T) {
	t.Parallel()
	url, _, log := start(t, nil)
	for range 3 {
		if _, _, body := send(t, "GET", url+"/page/page.html"); !strings.Contains(body, " /-/static/a.css<") {
			t.Errorf("body: %s", body)
		}
	}
	if n := strings.Count(log(), "set -static"); n != 1 {
		t.Errorf("%d errors: %s", n, log())
	}
}
