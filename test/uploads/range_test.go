package uploads_test

import (
	"bufio"
	"bytes"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/galeserver/gale/test/harness"
)

// The responses to ranges and conditions equal those of net/http's ServeContent for
// the same content, ETag and time.
func TestDownloadAgreesWithNetHTTP(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	g := harness.Start(t, dir, "-procs", "1", "-workers", "0")
	content := bytes.Repeat([]byte("0123456789"), 1000)
	path := filepath.Join(t.TempDir(), "tens.bin")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	harness.Upload(t, g, "d", path)
	resp, err := http.Get(g.URL + "/upload/d/tens.bin")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	etag, modified := resp.Header.Get("ETag"), resp.Header.Get("Last-Modified")
	at, err := http.ParseTime(modified)
	if err != nil || len(etag) != 66 {
		t.Fatalf("ETag %s, Last-Modified %s", etag, modified)
	}
	const long, early, late = "Thu, 01 Jan 1970 00:00:00 GMT", "Sat, 01 Jan 2000 00:00:00 GMT", "Fri, 01 Jan 2100 00:00:00 GMT"
	for _, headers := range []string{
		"", "Range: bytes=0-0", "Range: bytes=5-14", "Range: bytes=9990-", "Range: bytes=9999-99999", "Range: bytes=-7", "Range: bytes=-99999",
		"Range: bytes=0-9999", "Range: bytes=10000-", "Range: bytes=9-5", "Range: bytes=x-y", "Range: bytes=-", "Range: bytes=99999999999999999999-",
		"If-None-Match: " + etag, "If-None-Match: W/" + etag, `If-None-Match: "other", ` + etag, "If-None-Match: *", `If-None-Match: "other"`,
		`If-None-Match: "other"` + "\nIf-Modified-Since: " + late,
		"If-Modified-Since: " + modified, "If-Modified-Since: " + late, "If-Modified-Since: " + early, "If-Modified-Since: nonsense",
		"If-Match: " + etag, "If-Match: *", `If-Match: "other"`, "If-Match: W/" + etag, `If-Match: "other", ` + etag,
		"If-Unmodified-Since: " + early, "If-Unmodified-Since: " + late, "If-Match: " + etag + "\nIf-Unmodified-Since: " + early,
		"Range: bytes=1-2\nIf-Range: " + etag, `Range: bytes=1-2` + "\n" + `If-Range: "other"`, "Range: bytes=1-2\nIf-Range: W/" + etag,
		"Range: bytes=1-2\nIf-Range: " + modified, "Range: bytes=1-2\nIf-Range: " + early, "Range: bytes=1-2\nIf-Range: " + late,
		"Range: bytes=1-2\nIf-None-Match: " + etag, "Range: bytes=99999-\nIf-Range: " + long,
	} {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			req, err := http.NewRequest(method, g.URL+"/upload/d/tens.bin", nil)
			if err != nil {
				t.Fatal(err)
			}
			for line := range strings.SplitSeq(headers, "\n") {
				if name, value, ok := strings.Cut(line, ": "); ok {
					req.Header.Set(name, value)
				}
			}
			want := httptest.NewRecorder()
			want.Header().Set("ETag", etag)
			http.ServeContent(want, req, "tens.bin", at, bytes.NewReader(content))

			resp, err := http.DefaultTransport.RoundTrip(req)
			if err != nil {
				t.Fatalf("%s %q: %v", method, headers, err)
			}
			got, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil || resp.StatusCode != want.Code || want.Code == 206 && resp.Header.Get("Content-Range") != want.Header().Get("Content-Range") {
				t.Errorf("%s %q: status %d, %s, %v; net/http %d, %s", method, headers,
					resp.StatusCode, resp.Header.Get("Content-Range"), err, want.Code, want.Header().Get("Content-Range"))
			}
			if want.Code < 300 && !bytes.Equal(got, want.Body.Bytes()) {
				t.Errorf("%s %q: %d bytes; net/http %d", method, headers, len(got), want.Body.Len())
			}
		}
	}
}

// Where net/http and RFC 9110 differ, the RFC is followed: a suffix of length 0 is not
// satisfiable (§14.1.2), and a range with an unknown unit is ignored (§14.2). A request
// for several ranges gets the whole file, as §14.2 allows. A position beyond 64 bits is
// a large position (§14.1.2).
func TestDownloadRangesByTheRFC(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, t.TempDir(), "-procs", "1", "-workers", "0")
	harness.Upload(t, g, "d", "demo/inspect/testdata/speech.wav")
	for value, status := range map[string]int{
		"bytes=-0": 416, "lines=1-2": 200, "bytes=0-1,3-4": 200,
		"bytes=0-99999999999999999999": 206, "bytes=-99999999999999999999": 206, "bytes=99999999999999999999-99999999999999999999": 416,
	} {
		req, err := http.NewRequest(http.MethodGet, g.URL+"/upload/d/speech.wav", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Range", value)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != status || status == 416 && !strings.HasPrefix(resp.Header.Get("Content-Range"), "bytes */") {
			t.Errorf("%s: %d, %v", value, resp.StatusCode, resp.Header)
		}
	}
}

// After a range the connection can be used for the next request.
func TestDownloadOfAPartKeepsTheConnection(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, t.TempDir(), "-procs", "1", "-workers", "0")
	harness.Upload(t, g, "d", "demo/inspect/testdata/speech.wav")
	conn, err := net.Dial("tcp", strings.TrimPrefix(g.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	responses := bufio.NewReader(conn)
	for range 3 {
		if _, err := io.WriteString(conn, "GET /upload/d/speech.wav HTTP/1.1\r\nHost: a\r\nRange: bytes=0-3\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(responses, nil)
		if err != nil {
			t.Fatal(err)
		}
		if part, err := io.ReadAll(resp.Body); err != nil || string(part) != "RIFF" || resp.Close {
			t.Errorf("got %q, %v", part, err)
		}
	}
}

// A file that was copied into the folder has no stored SHA-256. Its ETag is weak, and
// the file is not read to compute one. A stored SHA-256 is not used after the file was
// changed.
func TestDownloadOfFilesPutThereByHand(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	g := harness.Start(t, dir, "-procs", "1", "-workers", "0")
	harness.Upload(t, g, "d", "demo/inspect/testdata/speech.wav")
	head := func(name string) http.Header {
		t.Helper()
		resp, err := http.Head(g.URL + "/upload/d/" + name)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("HEAD %s: %+v, %v", name, resp, err)
		}
		resp.Body.Close()
		return maps.Clone(resp.Header)
	}
	stored := head("speech.wav")
	if strings.HasPrefix(stored.Get("ETag"), "W/") || stored.Get("Repr-Digest") == "" {
		t.Errorf("stored: %v", stored)
	}
	path := filepath.Join(dir, "data/uploads/d/speech.wav")
	later := time.Now().Add(time.Minute)
	if err := os.Chtimes(path, later, later); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(filepath.Dir(path), "page.html"), []byte("<script>alert(1)</script>"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"speech.wav", "page.html"} {
		h := head(name)
		if !strings.HasPrefix(h.Get("ETag"), "W/") || h.Get("Repr-Digest") != "" {
			t.Errorf("%s: %v", name, h)
		}
		if want := `attachment; filename="` + name + `"; filename*=UTF-8''` + name; h.Get("Content-Disposition") != want || h.Get("X-Content-Type-Options") != "nosniff" || strings.Contains(h.Get("Content-Type"), "html") {
			t.Errorf("%s: %v", name, h)
		}
	}
}
