package uploads_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/galeserver/gale/test/harness"
)

// Forms with the variants that clients send: Content-Types that RFC 2046 or Tornado
// accept, and names without quotes.
func TestFormsAsClientsSendThem(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, t.TempDir(), "-procs", "1", "-workers", "0", "-on-upload", "")
	for i, row := range []struct{ contentType, boundary string }{
		{"multipart/form-data;boundary=*****", "*****"},
		{"multipart/form-data; boundary====1===", "===1==="},
		{`multipart/form-data; boundary="===1==="`, "===1==="},
		{`multipart/form-data; boundary="a'()+_,-./:=? b"`, "a'()+_,-./:=? b"},
		{"Multipart/Form-Data; charset=utf-8; x; Boundary=abc;", "abc"},
	} {
		name := fmt.Sprintf("foo bar %d.txt", i)
		body := "--" + row.boundary + "\r\nContent-Disposition: form-data; name=d; inline; filename=" + name + "\r\n\r\ncontent\r\n--" + row.boundary + "--\r\n"
		a, err := postUpload(g, row.contentType, []byte(body))
		if err != nil || a.Code != 200 || len(a.Files) != 1 {
			t.Errorf("%s: %+v, %v", row.contentType, a, err)
			continue
		}
		if code, content, err := harness.Get(g.URL + "/upload/d/" + strings.ReplaceAll(name, " ", "%20")); err != nil || code != 200 || content != "content" {
			t.Errorf("%s: download: %d %q, %v", row.contentType, code, content, err)
		}
	}
	for contentType, want := range map[string]string{
		"multipart":                      `malformed form: the Content-Type "multipart" cannot be parsed`,
		"multipart/form-data":            "malformed form: the Content-Type multipart/form-data has no boundary",
		`multipart/form-data;boundary="`: `malformed form: the parameters of the Content-Type "multipart/form-data;boundary=\"" cannot be parsed`,
		"application/json":               "no file: the Content-Type is application/json, not multipart/form-data",
	} {
		a, err := postUpload(g, contentType, []byte("x"))
		if err != nil || a.Reason != want {
			t.Errorf("%s: %+v, %v; want %s", contentType, a, err, want)
		}
	}
	t.Run("parts inside a part", func(t *testing.T) {
		form := "--b\r\nContent-Disposition: form-data; name=d; filename=first\r\n\r\nx\r\n" +
			"--b\r\nContent-Disposition: form-data; name=d\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n" +
			"--c\r\nContent-Disposition: file; filename=second\r\n\r\nx\r\n--c--\r\n--b--\r\n"
		a, err := postUpload(g, "multipart/form-data; boundary=b", []byte(form))
		if err != nil || a.Code != 400 || !strings.Contains(a.Reason, `the part "d" contains other parts`) {
			t.Errorf("got %+v, %v", a, err)
		}
		if code, _, err := harness.Get(g.URL + "/upload/d/first"); err != nil || code != 404 {
			t.Errorf("a file of the refused form is stored: %d, %v", code, err)
		}
	})
}

// The limits of forms are flags. A form beyond a limit is refused as a whole.
func TestLimitsOfForms(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, t.TempDir(), "-procs", "1", "-workers", "0", "-on-upload", "",
		"-max-head", "2KiB", "-max-parts", "4", "-max-files", "2", "-max-field", "1KiB")
	file := func(name string) string {
		return "--b\r\nContent-Disposition: form-data; name=d; filename=" + name + "\r\n\r\nx\r\n"
	}
	field := func(size int) string {
		return "--b\r\nContent-Disposition: form-data; name=f\r\n\r\n" + strings.Repeat("x", size) + "\r\n"
	}
	for i, row := range []struct {
		body         string
		code, status int
		reason       string
	}{
		{file("a") + file("b") + field(1024) + field(0), 200, 200, "OK"},
		{file("c") + field(1025), 413, 413, `too large: the text field "f" has more than 1024 bytes`},
		{file("c") + field(0) + field(0) + field(0) + field(0), 400, 400, "malformed form: more than 4 parts"},
		{file("c") + file("e") + file("f"), 400, 400, "malformed form: more than 2 files"},
		{file("c") + strings.Replace(file("e"), "\r\n\r\n", "\r\nX-Long: "+strings.Repeat("x", 2048)+"\r\n\r\n", 1), 400, 400,
			"malformed form: the header of a part, or the data before the first part, is over 2048 bytes"},
	} {
		resp, err := http.Post(g.URL+"/upload", "multipart/form-data; boundary=b", strings.NewReader(row.body+"--b--\r\n"))
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		want := fmt.Sprintf(`{"code":%d,"reason":%q`, row.code, row.reason)
		if err != nil || resp.StatusCode != row.status || !strings.HasPrefix(string(text), want) {
			t.Errorf("form %d: %d %s, %v; want %s", i, resp.StatusCode, text, err, want)
		}
	}
	if code, _, err := harness.Get(g.URL + "/upload/d/c"); err != nil || code != 404 {
		t.Errorf("a file of a refused form is stored: %d, %v", code, err)
	}
	for size, want := range map[int]int{1 << 10: 200, 3 << 10: 431} {
		a, err := harness.TusDo(g, http.MethodGet, "/", nil, "X-Long: "+strings.Repeat("x", size))
		if err != nil || a.Status != want {
			t.Errorf("a head of %d bytes: %d, %v; want %d", size, a.Status, err, want)
		}
	}
}

// A body with a Content-Encoding is refused on every route. Its bytes are encoded, and
// would be stored or parsed as they are.
func TestContentEncodingIsRefused(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, t.TempDir(), "-procs", "1", "-workers", "0")
	created, err := harness.TusDo(g, http.MethodPost, "/tus/", nil, "Upload-Length: 5", harness.TusMetadata("filename", "a", "directory", "d"))
	if err != nil || created.Status != 201 {
		t.Fatalf("created %+v, %v", created, err)
	}
	place := created.Header.Get("Location")
	if _, path, ok := strings.Cut(place, g.URL); ok {
		place = path
	}
	for _, row := range []struct {
		method, path string
		fields       []string
	}{
		{http.MethodPatch, place, []string{harness.OffsetStream, "Upload-Offset: 0"}},
		{http.MethodPost, "/tus/", []string{harness.OffsetStream, "Upload-Length: 5", harness.TusMetadata("filename", "b", "directory", "d")}},
		{http.MethodPost, "/upload", []string{"Content-Type: multipart/form-data; boundary=b"}},
		{http.MethodPost, "/tasks", []string{"Content-Type: application/json"}},
		{http.MethodPost, "/publish/c", nil},
	} {
		for _, coding := range []string{"gzip", "identity, BR", "x"} {
			for _, body := range []io.Reader{bytes.NewReader([]byte("coded")), io.MultiReader(strings.NewReader("coded"))} { // the second is chunked
				a, err := harness.TusDo(g, row.method, row.path, body, append([]string{"Content-Encoding: " + coding}, row.fields...)...)
				if err != nil || a.Status != 415 || a.Header.Get("Accept-Encoding") != "identity" || !strings.Contains(a.Body, "Content-Encoding") {
					t.Errorf("%s %s as %s: %d %v %s, %v", row.method, row.path, coding, a.Status, a.Header, a.Body, err)
				}
			}
		}
	}
	if a, err := harness.TusDo(g, http.MethodHead, place, nil); err != nil || a.Header.Get("Upload-Offset") != "0" {
		t.Errorf("the upload has %s bytes, %v", a.Header.Get("Upload-Offset"), err)
	}
	if a, err := harness.TusDo(g, http.MethodPatch, place, strings.NewReader("plain"), harness.OffsetStream, "Upload-Offset: 0", "Content-Encoding: identity"); err != nil || a.Status != 204 {
		t.Errorf("identity: %+v, %v", a, err)
	}
}

// A tus creation with an empty chunked body is a creation without a body.
func TestTusCreationWithAnEmptyChunkedBody(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, t.TempDir(), "-procs", "1", "-workers", "0", "-on-upload", "")
	named := harness.TusMetadata("filename", "a", "directory", "d")
	empty := func() io.Reader { return io.MultiReader(strings.NewReader("")) } // without a length net/http sends it chunked
	a, err := harness.TusDo(g, http.MethodPost, "/tus/", empty(), "Upload-Length: 5", named)
	if err != nil || a.Status != 201 {
		t.Fatalf("created %+v, %v", a, err)
	}
	if a, err := harness.TusDo(g, http.MethodPost, "/tus/", io.MultiReader(strings.NewReader("hello")), "Upload-Length: 5", named); err != nil || a.Status != 415 {
		t.Errorf("a chunked body of another type: %+v, %v", a, err)
	}
	first, err := harness.TusDo(g, http.MethodPost, "/tus/", strings.NewReader("hello"), "Upload-Length: 5", "Upload-Concat: partial", harness.OffsetStream)
	if err != nil || first.Status != 201 {
		t.Fatalf("partial: %+v, %v", first, err)
	}
	if a, err := harness.TusDo(g, http.MethodPost, "/tus/", empty(), "Upload-Concat: final;"+first.Header.Get("Location"), named); err != nil || a.Status != 201 {
		t.Errorf("final with an empty chunked body: %+v, %v", a, err)
	}
}
