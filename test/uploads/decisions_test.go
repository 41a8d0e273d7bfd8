package uploads_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/test/harness"
)

// script writes a program in a folder and returns its path.
func script(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

// The service of -upload-hook refuses, renames and limits files. While it is away, no file is
// accepted.
func TestUploadHookService(t *testing.T) {
	t.Parallel()
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var p struct {
			Directory, Filename string
			Size                int64
		}
		if err := json.NewDecoder(r.Body).Decode(&p); err != nil {
			t.Error(err)
		}
		switch {
		case strings.HasSuffix(p.Filename, ".exe"):
			w.WriteHeader(http.StatusUnprocessableEntity)
			_, _ = io.WriteString(w, `{"reason":"no programs"}`)
		case p.Size > 100:
			w.WriteHeader(http.StatusRequestEntityTooLarge)
		default:
			fmt.Fprintf(w, `{"directory":"checked/%s","max_size":10}`, p.Directory)
		}
	}))
	g := harness.Start(t, t.TempDir(), "-procs", "1", "-workers", "0", "-on-upload", "", "-upload-hook", hook.URL)
	put := func(name, content string) (int, string) {
		resp, text := harness.Request(t, "PUT", g.URL+"/upload/d/"+name, content)
		return resp.StatusCode, text
	}
	for _, row := range []struct {
		name, content string
		status        int
		text          string
	}{
		{"a.txt", "0123456789", 200, `"directory":"checked/d"`},
		{"a.txt", "0123456789", 409, "already exists"},
		{"b.txt", "01234567890", 413, "the size limit of a file is 10 bytes"},
		{"c.txt", strings.Repeat("x", 101), 413, `"reason":"refused"`},
		{"d.exe", "x", 422, "no programs"},
	} {
		if status, text := put(row.name, row.content); status != row.status || !strings.Contains(text, row.text) {
			t.Errorf("%s: %d %s, want %d %s", row.name, status, text, row.status, row.text)
		}
	}
	kind, form := harness.UploadForm("d", "form.exe", []byte("x"))
	resp, text := harness.Request(t, "POST", g.URL+"/upload", string(form), "Content-Type", kind)
	if resp.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(text, `"code":422`) {
		t.Errorf("form: %d %s", resp.StatusCode, text)
	}
	hook.Close()
	resp, text = harness.Request(t, "PUT", g.URL+"/upload/d/e.txt", "x")
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Errorf("without the hook: %d %s", resp.StatusCode, text)
	}
	kind, form = harness.UploadForm("d", "form.txt", []byte("x"))
	if resp, text := harness.Request(t, "POST", g.URL+"/upload", string(form), "Content-Type", kind); resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("form without the hook: %d %s", resp.StatusCode, text)
	}
	testutil.Eventually(t, "the refused files are counted", func() bool {
		m := g.Metrics(t)
		return m.Sum("gale_upload_refused_total", "by=hook") == 3 && m.Sum("gale_upload_refused_total", "by=fault") == 2
	})
	if _, text := harness.Request(t, "GET", g.URL+"/upload/checked/d/", ""); strings.Count(text, `"name"`) != 1 {
		t.Errorf("stored: %s", text)
	}
}

// The program of -upload-hook decides, and faults of its name are found by check.
func TestUploadHookProgram(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	hook := script(t, dir, "hook", `if grep -q '"filename":"bad'; then echo "it is bad" >&2; exit 1; fi; echo '{"filename":"'$1'"}'`)
	g := harness.Start(t, dir, "-procs", "1", "-workers", "0", "-on-upload", "", "-upload-hook", hook+" new.txt")
	if resp, text := harness.Request(t, "PUT", g.URL+"/upload/d/bad.txt", "x"); resp.StatusCode != http.StatusForbidden || !strings.Contains(text, `"reason":"it is bad"`) {
		t.Errorf("%d %s", resp.StatusCode, text)
	}
	if resp, text := harness.Request(t, "PUT", g.URL+"/upload/d/good.txt", "x"); resp.StatusCode != http.StatusOK || !strings.Contains(text, `"filename":"new.txt"`) {
		t.Errorf("%d %s", resp.StatusCode, text)
	}
	if code, _, errs := harness.Outcome(t, dir, "check", "-quarantine", "long_running_task"); code != 2 || !strings.Contains(errs, "-quarantine: long_running_task cannot be started with a directory and a filename") {
		t.Errorf("%d %s", code, errs)
	}
	code, _, errs := harness.Outcome(t, dir, "check", "-upload-hook", "/no/such/program", "-quarantine", "nothing", "-quota", "a=1,a=2")
	for _, want := range []string{"-upload-hook: execute /no/such/program", `-quarantine: "nothing" is not one of`, `-quota: "a=1,a=2" is not valid: "a" has two limits`} {
		if code != 2 || !strings.Contains(errs, want) {
			t.Errorf("%d %s, want %s", code, errs, want)
		}
	}
}

// Files over a quota get 403, before their content where their size is known, and count again
// after a restart with kill -9. A full disk is another error, see TestFullDisk.
func TestQuotas(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	args := []string{"-procs", "2", "-workers", "0", "-on-upload", "", "-quota", "photos=100,*=150"}
	g := harness.Start(t, dir, args...)
	want := func(g *harness.Server, name string, size, status int) {
		t.Helper()
		resp, text := harness.Request(t, "PUT", g.URL+"/upload/"+name, strings.Repeat("x", size))
		if resp.StatusCode != status || status == 403 && !strings.Contains(text, `"code":403,"reason":"over quota: `) {
			t.Errorf("%s of %d bytes: %d %s, want %d", name, size, resp.StatusCode, text, status)
		}
	}
	want(g, "photos/2024/a", 60, 200)
	want(g, "photos/b", 41, 403)
	want(g, "photos/b", 40, 200)
	want(g, "other/a", 51, 403)
	kind, form := harness.UploadForm("photos", "form", []byte("x"))
	if resp, text := harness.Request(t, "POST", g.URL+"/upload", string(form), "Content-Type", kind); resp.StatusCode != http.StatusForbidden {
		t.Errorf("form: %d %s", resp.StatusCode, text)
	}
	if a, err := harness.TusDo(g, "POST", "/tus/", nil, "Upload-Length: 51", harness.TusMetadata("filename", "a")); err != nil || a.Status != 403 {
		t.Errorf("tus: %+v, %v", a, err)
	}
	testutil.Eventually(t, "the refused files are counted", func() bool {
		return g.Metrics(t).Sum("gale_upload_refused_total", "by=quota") == 4
	})
	g.Kill()
	g = harness.Start(t, dir, args...)
	want(g, "photos/c", 1, 403)
	if resp, text := harness.Request(t, "DELETE", g.URL+"/upload?directory=photos&filename=b", ""); resp.StatusCode != http.StatusOK {
		t.Errorf("remove: %d %s", resp.StatusCode, text)
	}
	want(g, "photos/c", 40, 200)
	want(g, "other/a", 50, 200)
}

// A file in quarantine is not there for any route before its task has succeeded, also when
// all processes are killed in between. Then the task of -on-upload starts. A file whose task
// fails is removed.
func TestQuarantine(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	proceed := filepath.Join(dir, "go")
	check := script(t, dir, "check", `while [ ! -e `+proceed+` ]; do sleep 0.1; done; ! grep -q virus "$1"`)
	tasks := filepath.Join(dir, "tasks.toml")
	text := fmt.Sprintf("[tasks.check]\nargv = [%q, \"{file}\"]\n[tasks.after]\nargv = [\"cat\", \"{file}\"]\n", check)
	if err := os.WriteFile(tasks, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"-procs", "2", "-workers", "1", "-tasks", tasks, "-quarantine", "check", "-on-upload", "after"}
	g := harness.Start(t, dir, args...)
	names := map[string]string{"good.txt": "nothing bad", "bad.txt": "a virus"}
	ids := map[string]string{}
	for name, content := range names {
		var r harness.UploadResponse
		if status := harness.SendJSON(t, "PUT", g.URL+"/upload/q/"+name, content, &r); status != 200 || r.Files[0].Task == "" || !strings.Contains(r.Files[0].Reason, "check has succeeded") {
			t.Fatalf("%d %+v", status, r)
		}
		ids[name] = r.Files[0].Task
	}
	hidden := func(g *harness.Server) {
		t.Helper()
		for name := range names {
			for _, method := range []string{"GET", "HEAD"} {
				if resp, _ := harness.Request(t, method, g.URL+"/upload/q/"+name, ""); resp.StatusCode != http.StatusNotFound {
					t.Errorf("%s %s: %d", method, name, resp.StatusCode)
				}
			}
			if resp, _ := harness.Request(t, "PUT", g.URL+"/upload/q/"+name, "x"); resp.StatusCode != http.StatusConflict {
				t.Errorf("PUT %s: %d", name, resp.StatusCode)
			}
		}
		if _, text := harness.Request(t, "GET", g.URL+"/upload/q/", ""); !strings.Contains(text, `"entries":[]`) {
			t.Errorf("list: %s", text)
		}
	}
	hidden(g)
	var other struct{ State, Error string }
	harness.SendJSON(t, "POST", g.URL+"/tasks", `{"id":"peek","task":"after","args":["q","good.txt"]}`, &other)
	g.Kill()
	g = harness.Start(t, dir, args...)
	hidden(g)
	if err := os.WriteFile(proceed, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	testutil.Eventually(t, "the good file can be read, and the bad one is gone", func() bool {
		good, text, err := harness.Get(g.URL + "/upload/q/good.txt")
		bad, _, errBad := harness.Get(g.URL + "/upload/q/bad.txt")
		if bad == 200 {
			t.Fatal("the bad file was served")
		}
		_, gone := os.Stat(filepath.Join(dir, "data/uploads/q/bad.txt"))
		return err == nil && errBad == nil && good == 200 && text == names["good.txt"] && os.IsNotExist(gone)
	})
	harness.GetJSON(t, g.URL+"/tasks/peek?wait=60s", &other)
	if other.State == "success" {
		t.Error("another task has read the file in quarantine")
	}
	for name, id := range ids {
		var task struct{ State, Task string }
		harness.GetJSON(t, g.URL+"/tasks/"+id+"?wait=60s", &task)
		if want := map[string]string{"good.txt": "success", "bad.txt": "failed"}[name]; task.State != want || task.Task != "check" {
			t.Errorf("%s: %+v", name, task)
		}
	}
	var list struct {
		Tasks []struct{ Task, State string }
	}
	testutil.Eventually(t, "the next task of the good file has run", func() bool {
		harness.GetJSON(t, g.URL+"/tasks?task=after&state=success", &list)
		return len(list.Tasks) == 1
	})
	testutil.Eventually(t, "the files are counted", func() bool {
		m := g.Metrics(t)
		return m.Sum("gale_upload_quarantine_total", "result=released") == 1 && m.Sum("gale_upload_quarantine_total", "result=removed") == 1
	})
	if resp, _ := harness.Request(t, "PUT", g.URL+"/upload/q/bad.txt", "nothing"); resp.StatusCode != http.StatusOK {
		t.Errorf("the name of the removed file: %d", resp.StatusCode)
	}
}
