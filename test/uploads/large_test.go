package uploads_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/test/harness"
)

// An upload of a gigabyte does not grow the memory of a child. One that is cut off
// halfway leaves no file.
func TestLargeUploads(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	g := harness.Start(t, dir, "-procs", "1", "-workers", "0")
	pid := g.Slots(t)["serve.0"].PID
	idle := harness.PeakMemory(t, pid)

	const size = 1 << 30
	head := "--b\r\nContent-Disposition: form-data; name=\"big\"; filename=\"zeros.bin\"\r\n\r\n"
	tail := "\r\n--b--\r\n"
	send := func(contentLength int64, body io.Reader) (*http.Response, error) {
		req, err := http.NewRequest(http.MethodPost, g.URL+"/upload", body)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "multipart/form-data; boundary=b")
		req.ContentLength = contentLength
		return http.DefaultClient.Do(req)
	}
	sum := sha256.New()
	whole := io.TeeReader(&harness.Zeros{N: size}, sum)
	resp, err := send(int64(len(head))+size+int64(len(tail)), io.MultiReader(strings.NewReader(head), whole, strings.NewReader(tail)))
	if err != nil {
		t.Fatal(err)
	}
	var response harness.UploadResponse
	err = json.NewDecoder(resp.Body).Decode(&response)
	resp.Body.Close()
	if err != nil || response.Code != 200 || response.Files[0].Size != size || response.Files[0].SHA256 != hex.EncodeToString(sum.Sum(nil)) {
		t.Errorf("response %+v, %v", response, err)
	}
	grown := harness.PeakMemory(t, pid) - idle
	t.Logf("peak memory: %.1f MiB idle, %.1f MiB more after 1 GiB", float64(idle)/(1<<20), float64(grown)/(1<<20))
	if limit := int64(16 << 20); grown > limit && !harness.RaceEnabled {
		t.Errorf("the child's peak memory grew by %d bytes; want at most %d", grown, limit)
	}
	if err := os.RemoveAll(filepath.Join(dir, "data/uploads/big")); err != nil {
		t.Error(err)
	}

	// Cut off halfway: the connection is closed before Content-Length bytes were sent.
	conn, err := net.Dial("tcp", strings.TrimPrefix(g.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "POST /upload HTTP/1.1\r\nHost: a\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: %d\r\n\r\n%s", size, head)
	if _, err := io.Copy(conn, &harness.Zeros{N: 64 << 20}); err != nil {
		t.Error(err)
	}
	open := func() (n int) {
		fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
		for _, fd := range fds {
			if target, _ := os.Readlink(fd); strings.HasPrefix(target, filepath.Join(dir, "data/uploads")+"/") && !strings.Contains(target, ".resumable") {
				n++
			}
		}
		return n
	}
	testutil.Eventually(t, "the partial file is open", func() bool { return open() == 1 })
	conn.Close()
	testutil.Eventually(t, "the partial file is removed", func() bool { return open() == 0 })
	var left []string
	err = filepath.WalkDir(filepath.Join(dir, "data/uploads"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && (!d.IsDir() || d.Name() == "big") {
			left = append(left, path)
		}
		return err
	})
	if err != nil || len(left) != 0 {
		t.Errorf("remaining files: %v, %v", left, err)
	}
}
