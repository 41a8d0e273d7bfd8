package uploads_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/galeserver/gale/test/harness"
)

// putUpload sends a file as the body of PUT /upload/PATH. header holds names and values.
func putUpload(g *harness.Server, path string, body io.Reader, header ...string) (a harness.UploadResponse, err error) {
	req, err := http.NewRequest(http.MethodPut, g.URL+"/upload/"+path, body)
	if err != nil {
		return a, err
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return a, err
	}
	defer resp.Body.Close()
	return a, json.NewDecoder(resp.Body).Decode(&a)
}

// chunked hides the length of a body, so that the client sends it in chunks.
type chunked struct{ io.Reader }

// countedReader counts what was read. The HTTP client may still read when the response is there.
type countedReader struct {
	r io.Reader
	n atomic.Int64
}

func (c *countedReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// PUT stores the body of the request under the path. What is refused leaves no file.
func TestPut(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, t.TempDir(), "-procs", "2", "-on-upload", "", "-max-upload", "1MiB")
	content := harness.UploadContent(1, 300<<10)
	sum := sha256.Sum256(content)
	digest := "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
	whole := func() io.Reader { return bytes.NewReader(content) }
	for _, row := range []struct {
		path   string
		body   io.Reader
		header []string
		code   int
		reason string // prefix
	}{
		{"d/length.bin", whole(), nil, 200, "OK"},
		{"d/chunks.bin", chunked{whole()}, nil, 200, "OK"},
		{"d/deep/er/a%20b.bin", whole(), []string{"Content-Type", "application/x-www-form-urlencoded"}, 200, "OK"},
		{"d/empty.bin", http.NoBody, nil, 200, "OK"},
		{"d/digest.bin", whole(), []string{"Repr-Digest", digest}, 200, "OK"},
		{"d/new.bin", whole(), []string{"If-None-Match", "*"}, 200, "OK"},
		{"d/length.bin", whole(), nil, 501, "already exists"},
		{"d/length.bin", whole(), []string{"If-None-Match", "*"}, 501, "already exists"},
		{"d/length.bin", whole(), []string{"If-Match", "*"}, 412, "PUT does not replace a file"},
		{"d/refused.bin", strings.NewReader("x"), []string{"Repr-Digest", digest}, 400, ""},
		{"d/refused.bin", whole(), []string{"Content-Range", "bytes 0-9/100"}, 400, "malformed"},
		{"d/refused.bin", whole(), []string{"Content-Encoding", "gzip"}, 415, ""},
		{"d/refused.bin", &harness.Zeros{N: 1<<20 + 1}, nil, 413, ""}, // in chunks
		{"d/refused.bin", bytes.NewReader(make([]byte, 1<<20+1)), nil, 413, ""},
		{"refused.bin", whole(), nil, 400, ""},
		{"d/", whole(), nil, 400, ""},
		{"d/.hidden", whole(), nil, 400, ""},
		{"d/..%5Crefused.bin", whole(), nil, 400, ""},
		{"d/%00refused.bin", whole(), nil, 404, ""}, // such a path has no route
		{"d/../refused.bin", whole(), nil, 404, ""},
	} {
		a, err := putUpload(g, row.path, row.body, row.header...)
		if err != nil || a.Code != row.code || !strings.HasPrefix(a.Reason, row.reason) {
			t.Errorf("%s %q: %+v, %v; want %d %s", row.path, row.header, a, err, row.code, row.reason)
		}
		if row.code == 200 && row.path != "d/empty.bin" && (len(a.Files) != 1 || a.Files[0].SHA256 != hex.EncodeToString(sum[:])) {
			t.Errorf("%s: %+v", row.path, a.Files)
		}
	}
	for path, want := range map[string]int{"d/length.bin": 200, "d/deep/er/a%20b.bin": 200, "d/refused.bin": 404} {
		if code, _, err := harness.Get(g.URL + "/upload/" + path); err != nil || code != want {
			t.Errorf("GET %s: %d, %v; want %d", path, code, err, want)
		}
	}
}

// If the name is in use, the server responds before the client has sent the whole body.
func TestPutRefusedEarly(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, t.TempDir(), "-procs", "1", "-on-upload", "")
	if a, err := putUpload(g, "d/a", strings.NewReader("first")); err != nil || a.Code != 200 {
		t.Fatal(a, err)
	}
	const size = 512 << 20
	body := &countedReader{r: &harness.Zeros{N: size}}
	a, err := putUpload(g, "d/a", body)
	if sent := body.n.Load(); err != nil || a.Code != 501 || sent == size {
		t.Errorf("%+v, %v; %d bytes were sent", a, err, sent)
	}
}
