package harness

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"mime/multipart"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// UploadResponse is the response of POST /upload.
type UploadResponse struct {
	Reason string
	Code   int
	Files  []struct {
		Code         int
		Size         int64
		SHA256, Task string
		Reason       string
	}
}

// Upload posts a file in a multipart form. It must be stored.
func Upload(t *testing.T, g *Server, directory, path string) (response UploadResponse) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	part, err := form.CreateFormFile(directory, filepath.Base(path))
	if err == nil {
		_, err = part.Write(content)
	}
	if err != nil || form.Close() != nil {
		t.Fatal(err)
	}
	resp, err := http.Post(g.URL+"/upload", form.FormDataContentType(), &body)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&response); err != nil || response.Code != 200 {
		t.Fatalf("upload: %+v, %v", response, err)
	}
	return response
}

// UploadForm returns a multipart form with one file.
func UploadForm(directory, filename string, content []byte) (contentType string, body []byte) {
	head := fmt.Sprintf("--b\r\nContent-Disposition: form-data; name=%q; filename=%q\r\n\r\n", directory, filename)
	return "multipart/form-data; boundary=b", bytes.Join([][]byte{[]byte(head), content, []byte("\r\n--b--\r\n")}, nil)
}

// UploadContent returns size random bytes. They are the same for the same i and
// size.
func UploadContent(i, size int) []byte {
	content := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{byte(i), byte(i >> 8)}).Read(content) // never fails
	return content
}

// FileSHA256 returns the SHA-256 of a file.
func FileSHA256(t *testing.T, path string) (sum [32]byte) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		t.Fatal(err)
	}
	copy(sum[:], h.Sum(nil))
	return sum
}

// Zeros is a reader of N zero bytes, for bodies that must not be held in memory.
type Zeros struct{ N int64 }

// Read reads zeros.
func (z *Zeros) Read(p []byte) (int, error) {
	if z.N == 0 {
		return 0, io.EOF
	}
	n := min(int64(len(p)), z.N)
	clear(p[:n])
	z.N -= n
	return int(n), nil
}

// SmallDisk mounts a file system of 1 MiB in dir until the end of the test and
// returns its path.
func SmallDisk(t *testing.T, dir string) (disk string) {
	t.Helper()
	disk = filepath.Join(dir, "disk")
	if err := os.Mkdir(disk, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("gale-test", disk, "tmpfs", 0, "size=1m"); err != nil {
		t.Fatalf("mount a small tmpfs: %v: run this test as root (CAP_SYS_ADMIN)", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(disk, syscall.MNT_FORCE|0x2 /* MNT_DETACH */) })
	return disk
}
