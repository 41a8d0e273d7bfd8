//go:build e2e

package storage_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/galeserver/gale/internal/s3test"
	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/test/harness"
	"github.com/galeserver/gale/uploads/s3"
)

// body returns a request body: head, zeros, and tail.
func body(head string, zeros int64, tail string) io.ReadCloser {
	return io.NopCloser(io.MultiReader(strings.NewReader(head), &harness.Zeros{N: zeros}, strings.NewReader(tail)))
}

// TestE2EStorageUnavailable pauses and kills the gateway: requests get 503, nothing of
// their files is left, and later requests succeed.
func TestE2EStorageUnavailable(t *testing.T) {
	tasks := harness.TasksFile(t, "[tasks.write]\nargv = [\"sh\", \"-c\", \"echo hello > $ARTIFACTS/a.txt\"]\n")
	gateway, g, _ := start(t, "-procs", "1", "-on-upload", "", "-tasks", tasks)
	if _, status := post(t, g, "d", "before", []byte("content")); status != http.StatusOK {
		t.Fatal(status)
	}
	artifact := "/tasks/" + harness.RunTask(t, g, "write").ID + "/artifacts/a.txt"
	content := harness.UploadContent(1, 20<<20)
	unavailable := func(how string) {
		t.Helper()
		for _, size := range []int{10, len(content)} {
			if _, status := post(t, g, "d", fmt.Sprint(how, size), content[:size]); status != http.StatusServiceUnavailable {
				t.Errorf("%s: upload of %d bytes: %d", how, size, status)
			}
		}
		for _, request := range [][2]string{{"GET", "/upload/d/before"}, {"GET", "/upload/d/"}, {"DELETE", "/upload?directory=d&filename=before"}, {"GET", artifact}} {
			resp, text := harness.Request(t, request[0], g.URL+request[1], "")
			if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" || strings.Contains(text, gateway.Addr) {
				t.Errorf("%s: %v: %d %s", how, request, resp.StatusCode, text)
			}
		}
	}
	gateway.Pause(t)
	unavailable("paused")
	gateway.Continue(t)
	sweep(t, gateway)
	gateway.Kill()
	unavailable("killed")
	late := harness.PostTask(t, g, `{"task":"write","args":[]}`)
	testutil.Eventually(t, "the artifact is not stored", func() bool { return strings.Contains(g.Log.String(), "artifact not stored") })
	gateway.Restart(t)
	if task := harness.AwaitTask(t, g, late.ID); task.State != "success" || task.Attempts != 1 {
		t.Errorf("task without the gateway: %+v", task)
	}
	for _, path := range []string{artifact, "/tasks/" + late.ID + "/artifacts/a.txt"} {
		if _, text := harness.Request(t, "GET", g.URL+path, ""); text != "hello\n" {
			t.Errorf("artifact after the restart: %q", text)
		}
	}
	if _, text := harness.Request(t, "GET", g.URL+"/upload/d/before", ""); text != "content" {
		t.Errorf("after the restart: %q", text)
	}
	if r, status := post(t, g, "d", "after", content); status != http.StatusOK || r.Files[0].SHA256 != hexSum(content) {
		t.Errorf("after the restart: %d %+v", status, r)
	}
	for _, name := range objects(t, gateway) {
		if text, err := os.ReadFile(filepath.Join(gateway.Dir, name)); err != nil || len(text) != 7 && len(text) != 10 && len(text) != len(content) {
			t.Errorf("%s: %d bytes, %v", name, len(text), err)
		}
	}
}

// TestE2EStorageStart starts servers on storage that cannot be used, or not yet.
func TestE2EStorageStart(t *testing.T) {
	gateway, g, _ := start(t, "-procs", "1")
	for flag, text := range map[string]string{
		"s3://files/p":                "-files: give an endpoint or a region",
		"file:///tmp":                 "-files: does not begin with s3://",
		"s3://files/../p?region=x":    "-files: prefix: unacceptable name",
		"s3://a:b@files/p?region=x":   "AWS_ACCESS_KEY_ID",
		"s3://files/p?endpoint=x:y:z": "-files: the endpoint",
	} {
		if code, _, errs := harness.Outcome(t, t.TempDir(), "check", "-files", flag); code != 2 || !strings.Contains(errs, text) {
			t.Errorf("check -files %s: %d %s", flag, code, errs)
		}
	}
	gateway.Kill()
	late := harness.Start(t, t.TempDir(), "-files", gateway.URL("late"), "-procs", "1", "-workers", "0")
	if _, status := post(t, late, "d", "a", []byte("x")); status != http.StatusServiceUnavailable {
		t.Errorf("upload without the gateway: %d", status)
	}
	gateway.Restart(t)
	for _, s := range []*harness.Server{late, g} {
		if _, status := post(t, s, "d", "a", []byte("x")); status != http.StatusOK {
			t.Errorf("upload: %d", status)
		}
	}
}

// TestE2EStorageFull uploads to a gateway on a small disk.
func TestE2EStorageFull(t *testing.T) {
	s3test.Setenv(t)
	gateway := s3test.Start(t, harness.SmallDisk(t, t.TempDir()))
	g := harness.Start(t, t.TempDir(), "-files", gateway.URL("p"), "-procs", "1", "-workers", "0", "-on-upload", "")
	if _, status := post(t, g, "d", "small", make([]byte, 10_000)); status != http.StatusOK {
		t.Errorf("small file: %d", status)
	}
	for _, size := range []int{2 << 20, 20 << 20} {
		if r, status := post(t, g, "d", "large", make([]byte, size)); status != http.StatusInsufficientStorage || r.Code != 507 {
			t.Errorf("%d bytes: %d %+v", size, status, r)
		}
	}
	if got := objects(t, gateway); len(got) != 1 {
		t.Errorf("objects: %q", got)
	}
	testutil.Eventually(t, "no part is left", func() bool { return parts(gateway) == 0 })
}

// sweep removes the parts of unfinished uploads, as a server does after 24 hours.
func sweep(t *testing.T, gateway *s3test.Gateway) {
	t.Helper()
	target, err := s3.Parse(gateway.URL("prefix"))
	if err != nil {
		t.Fatal(err)
	}
	bucket, err := s3.Open(target, s3.Options{Temp: t.TempDir(), Expiry: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var sweeper sync.WaitGroup
	sweeper.Go(func() {
		if err := bucket.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	testutil.Eventually(t, "the parts are removed", func() bool { return parts(gateway) == 0 })
	cancel()
	sweeper.Wait()
}

// TestE2EStorageKilled kills a server during an upload in parts. A sweep removes the parts.
func TestE2EStorageKilled(t *testing.T) {
	gateway, g, _ := start(t, "-procs", "1", "-on-upload", "")
	r, w := io.Pipe()
	var client sync.WaitGroup
	client.Go(func() {
		resp, err := http.Post(g.URL+"/upload", "multipart/form-data; boundary=b", r)
		if err == nil {
			_ = resp.Body.Close()
		}
	})
	if _, err := io.Copy(w, body("--b\r\nContent-Disposition: form-data; name=d; filename=a\r\n\r\n", 20<<20, "")); err != nil {
		t.Fatal(err)
	}
	testutil.Eventually(t, "two parts are sent", func() bool { return parts(gateway) >= 2 })
	g.Kill()
	_ = w.CloseWithError(io.ErrUnexpectedEOF)
	client.Wait()
	if got := objects(t, gateway); len(got) != 0 {
		t.Errorf("objects: %q", got)
	}
	sweep(t, gateway)
	again := harness.Start(t, t.TempDir(), "-files", gateway.URL("prefix"), "-procs", "1", "-workers", "0", "-on-upload", "")
	if _, status := post(t, again, "d", "a", []byte("x")); status != http.StatusOK {
		t.Errorf("after the kill: %d", status)
	}
}
