//go:build e2e

package storage_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/galeserver/gale/internal/redistest"
	"github.com/galeserver/gale/internal/s3test"
	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/test/harness"
)

// start starts a gateway, and a server with its files there.
func start(t *testing.T, args ...string) (*s3test.Gateway, *harness.Server, string) {
	t.Helper()
	s3test.Setenv(t)
	gateway, dir := s3test.Start(t, t.TempDir()), t.TempDir()
	return gateway, harness.Start(t, dir, append([]string{"-files", gateway.URL("prefix")}, args...)...), dir
}

func post(t *testing.T, g *harness.Server, directory, filename string, content []byte) (response harness.UploadResponse, status int) {
	t.Helper()
	kind, body := harness.UploadForm(directory, filename, content)
	resp, text := harness.Request(t, "POST", g.URL+"/upload", string(body), "Content-Type", kind)
	if err := json.Unmarshal([]byte(text), &response); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return response, resp.StatusCode
}

func hexSum(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// objects returns the paths of the objects of a gateway, without artifacts, and without the states of
// resumable uploads, which are kept for an hour.
func objects(t *testing.T, gateway *s3test.Gateway) (all []string) {
	t.Helper()
	all, _ = allObjects(t, gateway)
	return all
}

// allObjects returns the paths of the objects of a gateway: those of artifacts, and the others.
func allObjects(t *testing.T, gateway *s3test.Gateway) (others, artifacts []string) {
	t.Helper()
	err := filepath.WalkDir(gateway.Dir, func(path string, e fs.DirEntry, err error) error {
		name, _ := filepath.Rel(gateway.Dir, path)
		switch {
		case err != nil || e.IsDir() || strings.HasPrefix(name, ".sgwtmp") || strings.Contains(name, "/.resumable/state/"):
		case strings.Contains(name, "/.artifacts/"):
			artifacts = append(artifacts, name)
		default:
			others = append(others, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return others, artifacts
}

// parts returns the number of parts of unfinished uploads in a gateway.
func parts(gateway *s3test.Gateway) (n int) {
	_ = filepath.WalkDir(filepath.Join(gateway.Dir, ".sgwtmp"), func(_ string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			n++
		}
		return nil // a part may be removed meanwhile
	})
	return n
}

// TestE2EStorageRoutes uploads, downloads, lists and removes files in object storage.
func TestE2EStorageRoutes(t *testing.T) {
	gateway, g, dir := start(t, "-procs", "2", "-on-upload", "")
	small, large := harness.UploadContent(1, 100_000), harness.UploadContent(2, 20<<20)
	for name, content := range map[string][]byte{"small.bin": small, "large.bin": large} {
		if r, status := post(t, g, "d/ü", name, content); status != http.StatusOK || r.Files[0].SHA256 != hexSum(content) || r.Files[0].Size != int64(len(content)) {
			t.Errorf("%s: %d %+v", name, status, r)
		}
		if r, status := post(t, g, "d/ü", name, []byte("other")); status != http.StatusConflict || r.Code != 501 {
			t.Errorf("%s again: %d %+v", name, status, r)
		}
		url := g.URL + "/upload/d/ü/" + name
		resp, text := harness.Request(t, "GET", url, "")
		tag := resp.Header.Get("ETag")
		if resp.StatusCode != http.StatusOK || text != string(content) || tag == "" || name == "small.bin" && tag != `"`+hexSum(content)+`"` {
			t.Errorf("%s: %d, %d bytes, ETag %s", name, resp.StatusCode, len(text), tag)
		}
		if resp, text := harness.Request(t, "HEAD", url, ""); resp.StatusCode != http.StatusOK || text != "" || resp.ContentLength != int64(len(content)) || resp.Header.Get("ETag") != tag {
			t.Errorf("HEAD: %d, %d bytes", resp.StatusCode, resp.ContentLength)
		}
		if resp, text := harness.Request(t, "GET", url, "", "Range", "bytes=50000-50009"); resp.StatusCode != http.StatusPartialContent || text != string(content[50_000:50_010]) {
			t.Errorf("range: %d %q", resp.StatusCode, text)
		}
		if resp, text := harness.Request(t, "GET", url, "", "Range", "bytes=-10", "If-Range", tag); resp.StatusCode != http.StatusPartialContent || text != string(content[len(content)-10:]) {
			t.Errorf("suffix: %d %q", resp.StatusCode, text)
		}
		if resp, _ := harness.Request(t, "GET", url, "", "If-None-Match", tag); resp.StatusCode != http.StatusNotModified {
			t.Errorf("If-None-Match: %d", resp.StatusCode)
		}
		if resp, _ := harness.Request(t, "GET", url, "", "If-Match", `"other"`); resp.StatusCode != http.StatusPreconditionFailed {
			t.Errorf("If-Match: %d", resp.StatusCode)
		}
	}
	if resp, text := harness.Request(t, "PUT", g.URL+"/upload/d/ü/put.bin", string(large)); resp.StatusCode != http.StatusOK || !strings.Contains(text, hexSum(large)) {
		t.Errorf("PUT: %d %s", resp.StatusCode, text)
	}
	if resp, _ := harness.Request(t, "PUT", g.URL+"/upload/d/ü/put.bin", "other"); resp.StatusCode != http.StatusConflict {
		t.Errorf("PUT again: %d", resp.StatusCode)
	}
	if resp, _ := harness.Request(t, "DELETE", g.URL+"/upload?directory=d/%C3%BC&filename=put.bin", ""); resp.StatusCode != http.StatusOK {
		t.Errorf("remove: %d", resp.StatusCode)
	}
	_, text := harness.Request(t, "GET", g.URL+"/upload/d/", "")
	if !strings.Contains(text, `"entries":[{"name":"ü","type":"directory","size":0}]`) {
		t.Errorf("list: %s", text)
	}
	if resp, _ := harness.Request(t, "GET", g.URL+"/upload/d/none", ""); resp.StatusCode != http.StatusNotFound {
		t.Errorf("no such file: %d", resp.StatusCode)
	}
	if resp, _ := harness.Request(t, "DELETE", g.URL+"/upload?directory=d/%C3%BC&filename=small.bin", ""); resp.StatusCode != http.StatusOK {
		t.Errorf("remove: %d", resp.StatusCode)
	}
	if got := objects(t, gateway); len(got) != 1 || got[0] != "prefix/d/ü/large.bin" {
		t.Errorf("objects: %q", got)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "data/uploads/[a-z]*")); err != nil || len(left) != 0 {
		t.Errorf("in the folder: %q, %v", left, err)
	}
	if left, err := os.ReadDir(filepath.Join(dir, "data/parts")); err != nil || len(left) != 0 {
		t.Errorf("parts: %v, %v", left, err)
	}
	testutil.Eventually(t, "the requests are counted", func() bool {
		return g.Metrics(t).Sum("gale_storage_request_duration_seconds", "method=PUT", "status=200") > 0
	})
}

// TestE2EStorageRedirect downloads files from the gateway, by signed URLs.
func TestE2EStorageRedirect(t *testing.T) {
	_, g, _ := start(t, "-procs", "1", "-workers", "0", "-on-upload", "", "-files-redirect", "1m", "-token", "secret")
	content := harness.UploadContent(1, 10_000)
	const bearer = "Bearer secret"
	if resp, text := harness.Request(t, "PUT", g.URL+"/upload/d/ü.html", string(content), "Authorization", bearer); resp.StatusCode != http.StatusOK {
		t.Fatalf("%d %s", resp.StatusCode, text)
	}
	url := g.URL + "/upload/d/%C3%BC.html"
	resp, text := harness.Request(t, "GET", url, "", "Authorization", bearer) // follows the redirect
	if resp.StatusCode != http.StatusOK || text != string(content) || resp.Request.URL.Host == strings.TrimPrefix(g.URL, "http://") {
		t.Errorf("%d, %d bytes from %s", resp.StatusCode, len(text), resp.Request.URL.Host)
	}
	if kind, disposition := resp.Header.Get("Content-Type"), resp.Header.Get("Content-Disposition"); kind != "application/octet-stream" || !strings.HasPrefix(disposition, "attachment") {
		t.Errorf("%s, %s", kind, disposition)
	}
	if resp, text := harness.Request(t, "GET", url, "", "Authorization", bearer, "Range", "bytes=10-19"); resp.StatusCode != http.StatusPartialContent || text != string(content[10:20]) {
		t.Errorf("range: %d %q", resp.StatusCode, text)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", bearer)
	direct, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = harness.ReadAll(t, direct)
	if direct.StatusCode != http.StatusFound || direct.Header.Get("Cache-Control") != "no-store" || direct.Header.Get("ETag") != "" {
		t.Errorf("%d %v", direct.StatusCode, direct.Header)
	}
	for _, row := range []struct {
		method, name, value string
		status              int
	}{{"HEAD", "Accept", "*/*", 200}, {"GET", "If-None-Match", `"` + hexSum(content) + `"`, 304}} {
		if resp, _ := harness.Request(t, row.method, url, "", "Authorization", bearer, row.name, row.value); resp.StatusCode != row.status || resp.Request.URL.String() != url {
			t.Errorf("%+v: %d", row, resp.StatusCode)
		}
	}
	if resp, _ := harness.Request(t, "GET", url, ""); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("without the token: %d", resp.StatusCode)
	}
}

// TestE2EStorageResumable uploads by tus and by WebSocket.
func TestE2EStorageResumable(t *testing.T) {
	gateway, g, _ := start(t, "-procs", "2", "-on-upload", "")
	content := harness.UploadContent(3, 9<<20)
	created, err := harness.TusDo(g, "POST", "/tus/", nil, fmt.Sprintf("Upload-Length: %d", len(content)), harness.TusMetadata("filename", "a.bin", "directory", "t"))
	if err != nil || created.Status != 201 {
		t.Fatalf("%+v, %v", created, err)
	}
	path := strings.TrimPrefix(created.Header.Get("Location"), g.URL)
	for at := 0; at < len(content); at += 3 << 20 {
		r, err := harness.TusDo(g, "PATCH", path, bytes.NewReader(content[at:at+3<<20]), fmt.Sprintf("Upload-Offset: %d", at), "Content-Type: application/offset+octet-stream")
		if err != nil || r.Status != 204 {
			t.Fatalf("%+v, %v", r, err)
		}
	}
	if _, text := harness.Request(t, "GET", g.URL+"/upload/t/a.bin", ""); text != string(content) {
		t.Errorf("%d bytes of %d", len(text), len(content))
	}
	for _, name := range []string{"uploaded_file.bin", "uploaded_file-1.bin"} {
		conn := harness.Socket(t, g, "/upload")
		if got := harness.SendMessage(t, conn, 2, "hello"); !strings.Contains(got, `"offset":5`) {
			t.Errorf("offset: %s", got)
		}
		if got := harness.SendMessage(t, conn, 1, "done"); !strings.Contains(got, name) {
			t.Errorf("result: %s", got)
		}
		conn.Close()
	}
	testutil.Eventually(t, "the parts of the upload are removed", func() bool { return len(objects(t, gateway)) <= 3 })
	if got := objects(t, gateway); len(got) != 3 {
		t.Errorf("objects: %q", got)
	}
}

// TestE2EStorageTwoServers uploads to one server; the worker is on another one. Both find
// the files, and each file's tasks run.
func TestE2EStorageTwoServers(t *testing.T) {
	redis := redistest.StartDurable(t)
	tasks := harness.TasksFile(t, "[tasks.count]\nargv = [\"wc\", \"-c\", \"{file}\"]\non_upload = [\"*.wav\"]\n")
	gateway, first, _ := start(t, "-procs", "2", "-workers", "0", "-redis", redis.URL(), "-tasks", tasks)
	elsewhere := t.TempDir()
	second := harness.Start(t, elsewhere, "-files", gateway.URL("prefix"), "-procs", "1", "-workers", "1", "-redis", redis.URL(), "-tasks", tasks)
	const n = 10
	for i := range n {
		speech, err := os.ReadFile("demo/inspect/testdata/speech.wav")
		if err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprintf("%d.wav", i)
		r, status := post(t, first, "speech", name, speech)
		if status != http.StatusOK {
			t.Fatalf("%d %+v", status, r)
		}
		id := r.Files[0].Task
		if task := harness.AwaitTask(t, first, id); task.State != "success" || !strings.Contains(string(task.Result), hexSum(speech)) {
			t.Errorf("inspect: %+v %s", task, task.Result)
		}
		if task := harness.AwaitTask(t, second, id+"-count"); task.State != "success" || !strings.Contains(string(task.Result), fmt.Sprint(len(speech))) {
			t.Errorf("count: %+v %s", task, task.Result)
		}
		if _, text := harness.Request(t, "GET", second.URL+"/upload/speech/"+name, ""); text != string(speech) {
			t.Errorf("download from the other server: %d bytes", len(text))
		}
		picture := ""
		for _, g := range []*harness.Server{second, first} { // the worker is that of the second one
			resp, text := harness.Request(t, "GET", g.URL+"/tasks/"+id+"/artifacts/waveform.png", "")
			if !isPNG(text) || resp.StatusCode != http.StatusOK || picture != "" && text != picture {
				t.Errorf("artifact: %d, %d bytes", resp.StatusCode, len(text))
			}
			picture = text
		}
	}
	testutil.Eventually(t, "no record is left", func() bool { return len(objects(t, gateway)) == n })
	if _, pictures := allObjects(t, gateway); len(pictures) != n {
		t.Errorf("artifacts: %q", pictures)
	}
	if left, err := filepath.Glob(filepath.Join(elsewhere, "data/tmp/*")); err != nil || len(left) != 0 {
		t.Errorf("copies of command tasks: %q, %v", left, err)
	}
}

// checkMemory fails the test if an upload has taken more than 64 MiB of memory. idle is the
// peak of the process before it.
func checkMemory(t *testing.T, pid int, idle int64) {
	t.Helper()
	most := harness.PeakMemory(t, pid)
	t.Logf("peak memory: %.1f MiB idle, %.1f MiB after the upload", float64(idle)/(1<<20), float64(most)/(1<<20))
	if most > idle+64<<20 {
		t.Errorf("memory rose by %d bytes", most-idle)
	}
}

// TestE2EStorageMemory uploads a large file.
func TestE2EStorageMemory(t *testing.T) {
	gateway, g, _ := start(t, "-procs", "1", "-workers", "0", "-on-upload", "")
	const size = 1 << 30
	pid := g.Slots(t)["serve.0"].PID
	idle := harness.PeakMemory(t, pid)
	req, err := http.NewRequest(http.MethodPost, g.URL+"/upload", nil)
	if err != nil {
		t.Fatal(err)
	}
	head, tail := "--b\r\nContent-Disposition: form-data; name=big; filename=a\r\n\r\n", "\r\n--b--\r\n"
	req.Body = body(head, size, tail)
	req.Header.Set("Content-Type", "multipart/form-data; boundary=b")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if text := harness.ReadAll(t, resp); resp.StatusCode != http.StatusOK {
		t.Fatalf("%d %s", resp.StatusCode, text)
	}
	checkMemory(t, pid, idle)
	if info, err := os.Stat(filepath.Join(gateway.Dir, "prefix/big/a")); err != nil || info.Size() != size {
		t.Errorf("%v, %v", info, err)
	}
}
