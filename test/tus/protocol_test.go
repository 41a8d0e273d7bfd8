package tus_test

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/galeserver/gale/test/harness"
)

const (
	noResumable = "Tus-Resumable: "
)

func checksum(algorithm string, sum []byte) string {
	return "Upload-Checksum: " + algorithm + " " + base64.StdEncoding.EncodeToString(sum)
}

// tusStep is a request and its expected response. $1 in a path or a field is the
// Location of the first POST of the story, $2 that of the second.
type tusStep struct {
	request string // method and path
	fields  []string
	body    string
	status  int
	header  []string // fields of the response; "Name: " must be absent, "Name: *" may have any value
}

func creation(fields ...string) []string { return fields }

// tusStories are the requests, fields and statuses of the protocol, by its sections.
func tusStories() map[string][]tusStep {
	sum256, sum1, sum5 := sha256.Sum256([]byte("hello")), sha1.Sum([]byte("hello")), md5.Sum([]byte("hello"))
	named := func(name string) string { return harness.TusMetadata("filename", name, "directory", "t") }
	whole := "sha-256=:" + base64.StdEncoding.EncodeToString(sum256[:]) + ":"
	return map[string][]tusStep{
		"options": {
			{"OPTIONS /tus/", []string{noResumable}, "", 204, []string{"Tus-Version: 1.0.0", "Tus-Max-Size: 1048576", "Tus-Checksum-Algorithm: sha256,sha1,md5",
				"Tus-Extension: creation,creation-with-upload,creation-defer-length,termination,checksum,expiration,concatenation"}},
			{"OPTIONS /tus/", []string{"Tus-Resumable: 0.2.2"}, "", 204, []string{"Tus-Version: 1.0.0"}},
		},
		"version": {
			{"POST /tus/", []string{noResumable, "Upload-Length: 1", named("v")}, "", 412, []string{"Tus-Version: 1.0.0"}},
			{"POST /tus/", []string{"Tus-Resumable: 2.0.0", "Upload-Length: 1", named("v")}, "", 412, []string{"Tus-Version: 1.0.0"}},
			{"POST /tus/", creation("Upload-Length: 5", named("v")), "", 201, nil},
			{"HEAD $1", []string{"Tus-Resumable: 0.2.2"}, "", 412, []string{"Upload-Offset: "}},
			{"PATCH $1", []string{"Tus-Resumable: 0.2.2", harness.OffsetStream, "Upload-Offset: 0"}, "hello", 412, nil},
			{"HEAD $1", nil, "", 200, []string{"Upload-Offset: 0"}},
		},
		"core": {
			{"POST /tus/", creation("Upload-Length: 5", named("core")), "", 201, []string{"Location: *", "Upload-Expires: *", "Upload-Offset: "}},
			{"HEAD $1", nil, "", 200, []string{"Upload-Offset: 0", "Upload-Length: 5", "Cache-Control: no-store", "Upload-Defer-Length: ", named("core"), "Upload-Expires: *"}},
			{"PATCH $1", []string{"Content-Type: text/plain", "Upload-Offset: 0"}, "he", 415, nil},
			{"PATCH $1", []string{"Upload-Offset: 0"}, "he", 415, nil},
			{"PATCH $1", []string{harness.OffsetStream}, "he", 400, nil},
			{"PATCH $1", []string{harness.OffsetStream, "Upload-Offset: -1"}, "he", 400, nil},
			{"PATCH $1", []string{harness.OffsetStream, "Upload-Offset: x"}, "he", 400, nil},
			{"PATCH $1", []string{harness.OffsetStream, "Upload-Offset: 1"}, "he", 409, []string{"Upload-Offset: 0"}},
			{"PATCH $1", []string{harness.OffsetStream, "Upload-Offset: 0"}, "he", 204, []string{"Upload-Offset: 2", "Upload-Expires: *"}},
			{"PATCH $1", []string{harness.OffsetStream, "Upload-Offset: 0"}, "he", 409, []string{"Upload-Offset: 2"}},
			{"PATCH $1", []string{harness.OffsetStream, "Upload-Offset: 2"}, "", 204, []string{"Upload-Offset: 2"}},
			{"PATCH $1", []string{harness.OffsetStream, "Upload-Offset: 2"}, "lloo", 413, nil},
			{"PATCH $1", []string{harness.OffsetStream, "Upload-Offset: 2", "Upload-Length: 6"}, "llo", 400, nil},
			{"HEAD $1", nil, "", 200, []string{"Upload-Offset: 2", "Upload-Length: 5"}},
			{"GET $1", []string{noResumable}, "", 200, []string{"Upload-Offset: 2"}},
			{"PATCH $1", []string{harness.OffsetStream, "Upload-Offset: 2"}, "llo", 204, []string{"Upload-Offset: 5", "Upload-Length: 5", "Upload-Expires: ", "Repr-Digest: " + whole}},
			{"PATCH $1", []string{harness.OffsetStream, "Upload-Offset: 5"}, "", 204, []string{"Upload-Offset: 5"}},
			{"PATCH $1", []string{harness.OffsetStream, "Upload-Offset: 5"}, "x", 413, nil},
			{"HEAD $1", nil, "", 200, []string{"Upload-Offset: 5", "Upload-Length: 5", "Repr-Digest: " + whole}},
			{"POST $1", []string{"X-HTTP-Method-Override: HEAD"}, "", 200, []string{"Upload-Offset: 5"}},
			{"POST $1", nil, "", 405, []string{"Allow: *"}},
			{"PUT $1", nil, "", 405, []string{"Allow: *", "Tus-Resumable: "}},
			{"HEAD /tus/AAAAAAAAAAAAAAAAAAAAAAAAAA", nil, "", 404, []string{"Upload-Offset: "}},
			{"HEAD /tus/jobs.db", nil, "", 404, nil},
			{"PATCH /tus/AAAAAAAAAAAAAAAAAAAAAAAAAA", []string{harness.OffsetStream, "Upload-Offset: 0"}, "x", 404, nil},
			{"GET /tus/AAAAAAAAAAAAAAAAAAAAAAAAAA", nil, "", 404, nil},
			{"DELETE /tus/AAAAAAAAAAAAAAAAAAAAAAAAAA", nil, "", 404, nil},
			{"PATCH /tus/", []string{harness.OffsetStream, "Upload-Offset: 0"}, "x", 405, []string{"Allow: *"}},
		},
		"override": {
			{"POST /tus/", creation("Upload-Length: 5", named("override")), "", 201, nil},
			{"POST $1", []string{"X-HTTP-Method-Override: PATCH", harness.OffsetStream, "Upload-Offset: 0"}, "hello", 204, []string{"Upload-Offset: 5"}},
			{"POST $1", []string{"X-HTTP-Method-Override: DELETE"}, "", 204, nil},
			{"HEAD $1", nil, "", 410, []string{"Upload-Offset: "}},
		},
		"creation": {
			{"POST /tus/", creation(named("c")), "", 400, nil},
			{"POST /tus/", creation(named("c"), "Upload-Length: x"), "", 400, nil},
			{"POST /tus/", creation(named("c"), "Upload-Length: -1"), "", 400, nil},
			{"POST /tus/", creation(named("c"), "Upload-Length: 1", "Upload-Defer-Length: 1"), "", 400, nil},
			{"POST /tus/", creation(named("c"), "Upload-Length: 1048577"), "", 413, nil},
			{"POST /tus/", creation(named("c"), "Upload-Length: 99999999999999999999"), "", 400, nil},
			{"POST /tus/", creation("Upload-Length: 5"), "", 400, nil},
			{"POST /tus/", creation("Upload-Length: 5", harness.TusMetadata("directory", "t")), "", 400, nil},
			{"POST /tus/", creation("Upload-Length: 5", harness.TusMetadata("filename", "../x")), "", 400, nil},
			{"POST /tus/", creation("Upload-Length: 5", harness.TusMetadata("filename", "x", "directory", "../x")), "", 400, nil},
			{"POST /tus/", creation("Upload-Length: 5", harness.TusMetadata("filename", ".x")), "", 400, nil},
			{"POST /tus/", creation("Upload-Length: 5", "Upload-Metadata: filename !"), "", 400, nil},
			{"POST /tus/", creation("Upload-Length: 5", "Upload-Metadata: filename eA==,filename eQ=="), "", 400, nil},
			{"POST /tus/", creation("Upload-Length: 5", named("c"), "Content-Type: text/plain"), "hello", 415, nil},
			{"POST /tus/", creation("Upload-Length: 0", named("empty"), "Content-Type: text/plain"), "", 201, []string{"Repr-Digest: *"}},
			{"HEAD $1", nil, "", 200, []string{"Upload-Offset: 0", "Upload-Length: 0"}},
			{"POST /tus/", creation("Upload-Length: 0", named("empty")), "", 409, []string{"Location: "}},
			{"POST /tus/", creation("Upload-Length: 5", harness.TusMetadata("filename", "below", "directory", "t/empty")), "", 409, nil},
			{"POST /tus/", creation("Upload-Length: 5", harness.TusMetadata("filename", "nowhere")+",empty,other eA=="), "", 201, nil},
			{"HEAD $2", nil, "", 200, []string{harness.TusMetadata("filename", "nowhere") + ",empty,other eA=="}},
			{"PATCH $2", []string{harness.OffsetStream, "Upload-Offset: 0"}, "hello", 204, nil},
		},
		"creation with upload": {
			{"POST /tus/", creation("Upload-Length: 5", named("with"), harness.OffsetStream), "hel", 201, []string{"Upload-Offset: 3", "Location: *", "Upload-Expires: *"}},
			{"PATCH $1", []string{harness.OffsetStream, "Upload-Offset: 3"}, "lo", 204, []string{"Upload-Offset: 5"}},
			{"POST /tus/", creation("Upload-Length: 5", named("at once"), harness.OffsetStream), "hello", 201, []string{"Upload-Offset: 5", "Repr-Digest: " + whole, "Upload-Expires: "}},
			{"POST /tus/", creation("Upload-Length: 5", named("more"), harness.OffsetStream), "hello!", 413, []string{"Location: "}},
			{"POST /tus/", creation("Upload-Length: 5", named("none"), harness.OffsetStream), "", 201, []string{"Upload-Offset: 0"}},
			{"POST /tus/", creation("Upload-Length: 5", named("bad"), harness.OffsetStream, checksum("sha1", sum1[:])), "hellO", 460, []string{"Location: "}},
			{"POST /tus/", creation("Upload-Length: 5", named("good"), harness.OffsetStream, checksum("sha1", sum1[:])), "hello", 201, []string{"Upload-Offset: 5"}},
		},
		"deferred length": {
			{"POST /tus/", creation("Upload-Defer-Length: 2", named("d")), "", 400, nil},
			{"POST /tus/", creation("Upload-Defer-Length: 1", named("d")), "", 201, []string{"Upload-Length: "}},
			{"HEAD $1", nil, "", 200, []string{"Upload-Defer-Length: 1", "Upload-Length: ", "Upload-Offset: 0"}},
			{"PATCH $1", []string{harness.OffsetStream, "Upload-Offset: 0"}, "hel", 204, []string{"Upload-Offset: 3"}},
			{"PATCH $1", []string{harness.OffsetStream, "Upload-Offset: 3", "Upload-Length: 2"}, "", 400, nil},
			{"PATCH $1", []string{harness.OffsetStream, "Upload-Offset: 3", "Upload-Length: 1048577"}, "", 413, nil},
			{"HEAD $1", nil, "", 200, []string{"Upload-Defer-Length: 1", "Upload-Length: ", "Upload-Offset: 3"}},
			{"PATCH $1", []string{harness.OffsetStream, "Upload-Offset: 3", "Upload-Length: 5"}, "l", 204, []string{"Upload-Offset: 4"}},
			{"HEAD $1", nil, "", 200, []string{"Upload-Defer-Length: ", "Upload-Length: 5", "Upload-Offset: 4"}},
			{"PATCH $1", []string{harness.OffsetStream, "Upload-Offset: 4", "Upload-Length: 6"}, "o!", 400, nil},
			{"PATCH $1", []string{harness.OffsetStream, "Upload-Offset: 4", "Upload-Length: 5"}, "o", 204, []string{"Upload-Offset: 5", "Repr-Digest: " + whole}},
		},
		"termination": {
			{"POST /tus/", creation("Upload-Length: 5", named("gone"), harness.OffsetStream), "he", 201, nil},
			{"DELETE $1", nil, "", 204, nil},
			{"HEAD $1", nil, "", 410, []string{"Upload-Offset: "}},
			{"PATCH $1", []string{harness.OffsetStream, "Upload-Offset: 2"}, "llo", 410, nil},
			{"GET $1", nil, "", 410, nil},
			{"DELETE $1", nil, "", 410, nil},
		},
		"checksum": {
			{"POST /tus/", creation("Upload-Length: 15", named("sums")), "", 201, nil},
			{"PATCH $1", []string{harness.OffsetStream, "Upload-Offset: 0", checksum("crc32", sum5[:4])}, "hello", 400, nil},
			{"PATCH $1", []string{harness.OffsetStream, "Upload-Offset: 0", "Upload-Checksum: sha1 x"}, "hello", 400, nil},
			{"PATCH $1", []string{harness.OffsetStream, "Upload-Offset: 0", checksum("sha1", sum5[:])}, "hello", 400, nil},
			{"PATCH $1", []string{harness.OffsetStream, "Upload-Offset: 0", checksum("sha1", sum1[:])}, "hellO", 460, nil},
			{"HEAD $1", nil, "", 200, []string{"Upload-Offset: 0"}},
			{"PATCH $1", []string{harness.OffsetStream, "Upload-Offset: 0", checksum("sha1", sum1[:])}, "hello", 204, []string{"Upload-Offset: 5"}},
			{"PATCH $1", []string{harness.OffsetStream, "Upload-Offset: 5", checksum("sha256", sum256[:])}, "Hello", 460, nil},
			{"PATCH $1", []string{harness.OffsetStream, "Upload-Offset: 5", checksum("sha256", sum256[:])}, "hello", 204, []string{"Upload-Offset: 10"}},
			{"PATCH $1", []string{harness.OffsetStream, "Upload-Offset: 10", checksum("md5", sum5[:])}, "hell", 460, nil},
			{"PATCH $1", []string{harness.OffsetStream, "Upload-Offset: 10", checksum("md5", sum5[:])}, "hello", 204, []string{"Upload-Offset: 15", "Repr-Digest: *"}},
		},
		"concatenation": {
			{"POST /tus/", creation("Upload-Length: 3", "Upload-Concat: partial", harness.OffsetStream), "hel", 201, []string{"Upload-Offset: 3", "Repr-Digest: "}},
			{"POST /tus/", creation("Upload-Length: 2", "Upload-Concat: partial"), "", 201, nil},
			{"HEAD $2", nil, "", 200, []string{"Upload-Concat: partial", "Upload-Offset: 0"}},
			{"POST /tus/", creation("Upload-Concat: final;$1 $2", named("joined")), "", 409, []string{"Location: "}},
			{"PATCH $2", []string{harness.OffsetStream, "Upload-Offset: 0"}, "lo", 204, []string{"Upload-Offset: 2", "Upload-Expires: *"}},
			{"HEAD $2", nil, "", 200, []string{"Upload-Concat: partial", "Upload-Offset: 2", "Upload-Length: 2"}},
			{"POST /tus/", creation("Upload-Concat: final;$1 $2", named("joined"), "Upload-Length: 5"), "", 400, nil},
			{"POST /tus/", creation("Upload-Concat: final;$1 $2", named("joined"), harness.OffsetStream), "hello", 400, nil},
			{"POST /tus/", creation("Upload-Concat: final;$1 $2"), "", 400, nil},
			{"POST /tus/", creation("Upload-Concat: final;", named("joined")), "", 400, nil},
			{"POST /tus/", creation("Upload-Concat: other", named("joined"), "Upload-Length: 5"), "", 400, nil},
			{"POST /tus/", creation("Upload-Concat: final;/tus/x", named("joined")), "", 400, nil},
			{"POST /tus/", creation("Upload-Concat: final;/tus/AAAAAAAAAAAAAAAAAAAAAAAAAA", named("joined")), "", 404, nil},
			{"POST /tus/", creation("Upload-Length: 1", named("no part")), "", 201, nil},
			{"POST /tus/", creation("Upload-Concat: final;$1 $3", named("joined")), "", 400, nil},
			{"POST /tus/", creation("Upload-Concat: final;https://proxy.example/files$1 $2", named("joined")), "", 201,
				[]string{"Upload-Length: 5", "Repr-Digest: " + whole, "Upload-Expires: "}},
			{"HEAD $4", nil, "", 200, []string{"Upload-Offset: 5", "Upload-Length: 5", "Upload-Concat: *", named("joined")}},
			{"PATCH $4", []string{harness.OffsetStream, "Upload-Offset: 5"}, "", 403, nil},
			{"POST /tus/", creation("Upload-Concat: final;$1 $2", named("joined")), "", 201, []string{"Location: $4", "Upload-Length: 5", "Repr-Digest: " + whole}},
			{"HEAD $1", nil, "", 410, nil},
			{"POST /tus/", creation("Upload-Concat: final;$1 $2", named("other")), "", 410, nil},
		},
	}
}

// Every request, field and status of the protocol. Each request has its own
// connection, so any child may get it.
func TestTusProtocol(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	g := harness.Start(t, dir, "-procs", "3", "-workers", "0", "-max-upload", "1MiB")
	for name, steps := range tusStories() {
		t.Run(name, func(t *testing.T) {
			var locations []string
			fill := func(s string) string {
				for i, location := range locations {
					s = strings.ReplaceAll(s, fmt.Sprintf("$%d", i+1), location)
				}
				return s
			}
			for i, step := range steps {
				method, path, _ := strings.Cut(fill(step.request), " ")
				var fields []string
				for _, field := range step.fields {
					fields = append(fields, fill(field))
				}
				a, err := harness.TusDo(g, method, path, strings.NewReader(step.body), fields...)
				if err != nil || a.Status != step.status {
					t.Fatalf("step %d, %s %s %q: %d %s, %v; want %d", i, method, path, fields, a.Status, a.Body, err, step.status)
				}
				want := step.header
				if method != "PUT" {
					want = append(want, harness.Resumable)
				}
				for _, field := range want {
					name, value, _ := strings.Cut(fill(field), ": ")
					if got := a.Header.Get(name); got != value && (value != "*" || got == "") {
						t.Errorf("step %d, %s %s %q: %s is %q, want %q", i, method, path, fields, name, got, value)
					}
				}
				if location := a.Header.Get("Location"); location != "" {
					locations = append(locations, location)
				}
			}
		})
	}
	for name, want := range map[string]string{"t/core": "hello", "t/empty": "", "tus/nowhere": "hello", "t/with": "hello", "t/at once": "hello", "t/d": "hello",
		"t/sums": "hellohellohello", "t/joined": "hello", "t/override": "hello", "t/good": "hello"} {
		if got, err := os.ReadFile(filepath.Join(dir, "data/uploads", name)); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	for _, name := range []string{"t/v", "t/gone", "t/more", "t/bad", "t/no part", "t/other"} {
		if _, err := os.Stat(filepath.Join(dir, "data/uploads", name)); err == nil {
			t.Errorf("%s exists", name)
		}
	}
}

// The rules for tokens and origins apply, and pages of an allowed origin can read the
// response.
func TestTusAccess(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, t.TempDir(), "-procs", "1", "-workers", "0", "-token", "s3cret", "-origins", "https://app.example")
	const token = "Authorization: Bearer s3cret"
	for _, row := range []struct {
		method string
		status int
		fields []string
		want   string
	}{
		{"POST", 401, nil, "Www-Authenticate: Bearer realm=\"gale\""},
		{"POST", 403, []string{token, "Origin: https://evil.example"}, "Access-Control-Allow-Origin: "},
		{"POST", 201, []string{token, "Origin: https://app.example"}, "Access-Control-Allow-Origin: https://app.example"},
		{"POST", 201, []string{token}, "Access-Control-Allow-Origin: "},
		{"OPTIONS", 204, []string{"Origin: https://app.example", "Access-Control-Request-Method: POST"}, "Access-Control-Allow-Methods: GET, HEAD, POST, PATCH, DELETE, OPTIONS"},
		{"OPTIONS", 204, []string{"Origin: https://evil.example", "Access-Control-Request-Method: POST"}, "Access-Control-Allow-Methods: "},
	} {
		a, err := harness.TusDo(g, row.method, "/tus/", nil, append(row.fields, "Upload-Length: 1", harness.TusMetadata("filename", "a"))...)
		name, value, _ := strings.Cut(row.want, ": ")
		if err != nil || a.Status != row.status || a.Header.Get(name) != value || a.Header.Get("Tus-Resumable") != "1.0.0" {
			t.Errorf("%s %q: %d %v, %v", row.method, row.fields, a.Status, a.Header, err)
		}
	}
	// X-HTTP-Method-Override is ignored: the guard has checked the other method.
	for _, method := range []string{"OPTIONS", "GET", "HEAD"} {
		a, err := harness.TusDo(g, method, "/tus/", nil, "X-HTTP-Method-Override: POST", "Upload-Length: 1", harness.TusMetadata("filename", "a"))
		if err != nil || a.Status == 201 {
			t.Errorf("%s for POST: %d, %v", method, a.Status, err)
		}
	}
	made, err := harness.TusDo(g, "POST", "/tus/", nil, token, "Upload-Length: 1", harness.TusMetadata("filename", "a"))
	if err != nil || made.Status != 201 {
		t.Fatalf("%+v, %v", made, err)
	}
	for _, method := range []string{"OPTIONS", "GET"} {
		if _, err := harness.TusDo(g, method, made.Header.Get("Location"), nil, "X-HTTP-Method-Override: DELETE", "Authorization: Bearer "+map[string]string{"GET": "s3cret"}[method]); err != nil {
			t.Error(err)
		}
	}
	if a, err := harness.TusDo(g, "HEAD", made.Header.Get("Location"), nil, token); err != nil || a.Status != 200 {
		t.Errorf("after the overridden methods: %d, %v", a.Status, err)
	}
	for _, method := range []string{"GET", "HEAD", "PATCH", "DELETE"} {
		if a, err := harness.TusDo(g, method, "/tus/AAAAAAAAAAAAAAAAAAAAAAAAAA", nil); err != nil || a.Status != 401 {
			t.Errorf("%s: %d, %v", method, a.Status, err)
		}
	}
}
