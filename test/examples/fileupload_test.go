package examples_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/galeserver/gale/test/harness"
)

// received is what fileupload says about a file.
type received struct {
	Filename, Type, SHA256 string
	Size                   int64
}

func sumOf(content []byte) string { return fmt.Sprintf("%x", sha256.Sum256(content)) }

// The receivers read forms and bodies to their end, also large ones, with little memory. A
// form that is not one is refused, and the platform's route stores a file.
func TestFileupload(t *testing.T) {
	t.Parallel()
	g := serve(t, "fileupload", "-procs", "1", "-workers", "0")

	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	text, picture := []byte("some notes"), bytes.Repeat([]byte("pixels"), 1<<16)
	for name, content := range map[string][]byte{"notes.txt": text, "cover.png": picture} {
		part, err := w.CreateFormFile("files", name)
		if err == nil {
			_, err = part.Write(content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.WriteField("comment", "not a file"); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	code, body := sendFile(t, http.MethodPost, g.URL+"/post", w.FormDataContentType(), &form)
	var files []received
	if err := json.Unmarshal([]byte(body), &files); err != nil || code != 200 || len(files) != 2 {
		t.Fatalf("form: %d %s", code, body)
	}
	for _, file := range files {
		want := map[string]string{"notes.txt": sumOf(text), "cover.png": sumOf(picture)}[file.Filename]
		if file.SHA256 != want || file.Type != "application/octet-stream" {
			t.Errorf("%+v, want %s", file, want)
		}
	}

	const size = 256 << 20
	code, body = sendFile(t, http.MethodPut, g.URL+"/large/file.bin", "video/mp4", &harness.Zeros{N: size})
	var file received
	if err := json.Unmarshal([]byte(body), &file); err != nil || code != 200 || file.Size != size || file.Filename != "large/file.bin" || file.Type != "video/mp4" {
		t.Errorf("PUT: %d %s", code, body)
	}
	if peak := harness.PeakMemory(t, g.Slots(t)["serve.0"].PID); peak > size/2 {
		t.Errorf("the process used %d MiB for a file of %d MiB", peak>>20, size>>20)
	}

	for _, row := range []struct {
		kind, body string
		status     int
		want       string
	}{
		{"text/plain", "x", 415, "send multipart/form-data"},
		{"multipart/form-data", "x", 415, "send multipart/form-data"},
		{"multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; filename=a\r\n\r\nabc", 400, "malformed"},
		{"multipart/form-data; boundary=b", "no form", 400, "malformed"},
		{"multipart/form-data; boundary=b", strings.Repeat("--b\r\nContent-Disposition: form-data; name=f; filename=a\r\n\r\nabc\r\n", 1001) + "--b--", 413, "at most 1000 files"},
	} {
		if code, body := sendFile(t, http.MethodPost, g.URL+"/post", row.kind, strings.NewReader(row.body)); code != row.status || !strings.Contains(body, row.want) {
			t.Errorf("%s: %.40q: %d %s", row.kind, row.body, code, body)
		}
	}
	notes := filepath.Join(t.TempDir(), "notes.txt")
	if err := os.WriteFile(notes, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if stored := harness.Upload(t, g, "texts", notes); stored.Files[0].SHA256 != sumOf(text) {
		t.Errorf("stored: %+v", stored)
	}
}

func sendFile(t *testing.T, method, url, kind string, content io.Reader) (code int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, content)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", kind)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, harness.ReadAll(t, resp)
}
