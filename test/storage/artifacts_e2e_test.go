//go:build e2e

package storage_test

import (
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/galeserver/gale/internal/s3test"
	"github.com/galeserver/gale/jobs/artifacts"
	"github.com/galeserver/gale/jobs/artifacts/artifactstest"
	"github.com/galeserver/gale/test/harness"
	"github.com/galeserver/gale/uploads/s3"
)

// TestE2EStorageArtifactsConformance checks artifacts in object storage.
func TestE2EStorageArtifactsConformance(t *testing.T) {
	s3test.Setenv(t)
	g := s3test.Start(t, t.TempDir())
	var n atomic.Int64
	artifactstest.Run(t, func(t testing.TB) artifacts.Files {
		target, err := s3.Parse(g.URL("place/" + strconv.FormatInt(n.Add(1), 10)))
		if err != nil {
			t.Fatal(err)
		}
		target.Prefix += "/.artifacts"
		b, err := s3.Open(target, s3.Options{Temp: t.TempDir(), PartSize: 5 << 20, Timeout: time.Minute, Replace: true, Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
		if err != nil {
			t.Fatal(err)
		}
		files := artifacts.NewBucket(b.Backend())
		t.Cleanup(func() {
			if err := files.Close(); err != nil {
				t.Error(err)
			}
		})
		return files
	})
}

// TestE2EStorageArtifactRoutes gets artifacts from object storage. Those that browsers save come
// from the gateway, by signed URLs.
func TestE2EStorageArtifactRoutes(t *testing.T) {
	const text = "0123456789"
	tasks := harness.TasksFile(t, "[tasks.write]\nargv = [\"sh\", \"-c\", \"printf "+text+" > $ARTIFACTS/a.txt; cp $ARTIFACTS/a.txt $ARTIFACTS/a.bin\"]\n")
	_, g, _ := start(t, "-procs", "1", "-files-redirect", "1m", "-tasks", tasks)
	url := g.URL + "/tasks/" + harness.RunTask(t, g, "write").ID + "/artifacts/"
	tag := `"` + hexSum([]byte(text)) + `"`
	for _, c := range []struct {
		method, name, field, value string
		status                     int
		text                       string
	}{
		{"GET", "a.txt", "", "", 200, text},
		{"HEAD", "a.txt", "", "", 200, ""},
		{"HEAD", "a.bin", "", "", 200, ""},
		{"GET", "a.txt", "Range", "bytes=3-5", 206, "345"},
		{"GET", "a.txt", "Range", "bytes=10-", 416, ""},
		{"GET", "a.txt", "If-None-Match", tag, 304, ""},
		{"GET", "a.bin", "If-None-Match", tag, 304, ""},
		{"GET", "a.bin", "", "", 302, ""},
		{"GET", "none", "", "", 404, ""},
	} {
		req, err := http.NewRequestWithContext(t.Context(), c.method, url+c.name, nil)
		if err != nil {
			t.Fatal(err)
		}
		if c.field != "" {
			req.Header.Set(c.field, c.value)
		}
		resp, err := http.DefaultTransport.RoundTrip(req) // follows no redirect
		if err != nil {
			t.Fatal(err)
		}
		body := harness.ReadAll(t, resp)
		if resp.StatusCode != c.status || c.text != "" && body != c.text || c.status/100 == 2 && resp.Header.Get("ETag") != tag {
			t.Errorf("%+v: %d %v %q", c, resp.StatusCode, resp.Header, body)
		}
	}
	resp, body := harness.Request(t, "GET", url+"a.bin", "") // follows the redirect
	if body != text || resp.Request.URL.Host == strings.TrimPrefix(g.URL, "http://") || !strings.HasPrefix(resp.Header.Get("Content-Disposition"), "attachment") {
		t.Errorf("%s: %d %v %q", resp.Request.URL, resp.StatusCode, resp.Header, body)
	}
}
