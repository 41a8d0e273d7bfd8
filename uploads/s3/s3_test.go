package s3

import (
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/galeserver/gale/uploads"
)

func TestParse(t *testing.T) {
	for address, want := range map[string]Target{
		"s3://bucket/a/b?endpoint=https://s3.example.com&region=eu-central-1": {"bucket", "a/b", "s3.example.com", true, "eu-central-1"},
		"s3://bucket/a/?endpoint=http://127.0.0.1:9000/":                      {"bucket", "a", "127.0.0.1:9000", false, "us-east-1"},
		"s3://my-bucket?region=eu-west-1":                                     {"my-bucket", "", "s3.amazonaws.com", true, "eu-west-1"},
		"s3://bucket/%C3%BC?endpoint=http://[::1]:9000":                       {"bucket", "ü", "[::1]:9000", false, "us-east-1"},
	} {
		if got, err := Parse(address); err != nil || got != want {
			t.Errorf("%s: %+v, %v", address, got, err)
		}
	}
	for address, text := range map[string]string{
		"":                                          "s3://",
		"/var/lib":                                  "s3://",
		"https://bucket/a":                          "s3://",
		"s3:bucket":                                 "s3://",
		"s3://":                                     "bucket",
		"s3://b?region=x":                           "bucket",
		"s3://Bucket?region=x":                      "bucket",
		"s3://id:secret@bucket":                     "AWS_ACCESS_KEY_ID",
		"s3://bucket":                               "give an endpoint or a region",
		"s3://bucket/../x?region=x":                 "prefix",
		"s3://bucket/.pending?region=x":             "prefix",
		"s3://bucket/a%00b?region=x":                "prefix",
		"s3://bucket/a?region=x#y":                  "fragment",
		"s3://bucket?region=":                       "one value",
		"s3://bucket?region=a&region=b":             "one value",
		"s3://bucket?regoin=a":                      "unknown parameter",
		"s3://bucket?region=%zz":                    "cannot be parsed",
		"s3://bucket?endpoint=s3.example.com":       "is not a URL",
		"s3://bucket?endpoint=ftp://s3.example.com": "is not a URL",
		"s3://bucket?endpoint=https://s3.example.com/bucket": "is not a URL",
		"s3://bucket?endpoint=https://a:b@s3.example.com":    "is not a URL",
	} {
		if got, err := Parse(address); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %+v, %v; want %q", address, got, err, text)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("s3://bucket/a/b?endpoint=https://s3.example.com&region=eu-central-1")
	f.Fuzz(func(t *testing.T, address string) {
		target, err := Parse(address)
		if err != nil {
			return
		}
		if target.Bucket == "" || target.Endpoint == "" || target.Region == "" || strings.Contains(target.Prefix, "..") || strings.HasPrefix(target.Prefix, "/") {
			t.Errorf("%q: %+v", address, target)
		}
		if _, err := Open(target, Options{}); err != nil {
			t.Logf("%q: %v", address, err) // refused by the library
		}
	})
}

// A service that ignores If-None-Match cannot be used: files could be overwritten.
func TestProbeNotConditional(t *testing.T) {
	s := startService(t)
	s.ignorePut = true
	b := s.open(t, Options{})
	if err := b.Probe(t.Context()); !errors.Is(err, errNotConditional) {
		t.Errorf("probe: %v", err)
	}
	if _, err := put(t.Context(), b, "a"); !errors.Is(err, errNotConditional) {
		t.Errorf("put: %v", err)
	}
	if err := b.Close(); err != nil || len(s.objects) != 0 { // it waits for the removal
		t.Errorf("left: %v, %v", s.objects, err)
	}
}

// If the condition is ignored only for multipart uploads, a large file is stored by one
// request.
func TestProbeMultipartNotConditional(t *testing.T) {
	for _, ignored := range []bool{true, false} {
		s := startService(t)
		s.ignoreCompletion = ignored
		b := s.open(t, Options{})
		if err := b.Probe(t.Context()); err != nil {
			t.Fatal(err)
		}
		text := strings.Repeat("x", DefaultPartSize+1)
		if f, err := putText(t.Context(), b, "a", text); err != nil || f.Size != int64(len(text)) {
			t.Errorf("%+v, %v", f, err)
		}
		if parts := s.count("d/a partNumber="); (parts == 0) != ignored {
			t.Errorf("condition ignored %v: %d parts", ignored, parts)
		}
		if left, err := os.ReadDir(b.opts.Temp); err != nil || len(left) != 0 {
			t.Errorf("temporary files: %v, %v", left, err)
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		for key := range s.objects {
			if key != "/bucket/some/prefix/d/a" {
				t.Errorf("left: %s", key)
			}
		}
	}
}

// If the response to a successful request is lost, the library repeats the request, and the
// service refuses it because of the file itself.
func TestLostResponse(t *testing.T) {
	s := startService(t)
	b := s.open(t, Options{})
	if err := b.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	var lost atomic.Bool
	s.mu.Lock()
	s.after = func(_ http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut && lost.CompareAndSwap(false, true) {
			panic(http.ErrAbortHandler)
		}
	}
	s.mu.Unlock()
	f, err := put(t.Context(), b, "a")
	if err != nil || f.Code != uploads.CodeStored || !lost.Load() {
		t.Errorf("%+v, %v", f, err)
	}
	if n := s.count("PUT /bucket/some/prefix/d/a"); n != 2 {
		t.Errorf("%d requests", n)
	}
	if _, err := put(t.Context(), b, "a"); !errors.Is(err, uploads.ErrExists) {
		t.Errorf("another file: %v", err)
	}
}

// Conflicts with other requests for the same key are tried again.
func TestConflict(t *testing.T) {
	s := startService(t)
	b := s.open(t, Options{})
	if err := b.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	var n atomic.Int64
	s.hook(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPut || n.Add(1) > 3 {
			return false
		}
		respond(w, http.StatusConflict, "ConditionalRequestConflict")
		return true
	})
	if f, err := put(t.Context(), b, "a"); err != nil {
		t.Errorf("%+v, %v", f, err)
	}
	s.hook(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPut {
			respond(w, http.StatusConflict, "ConditionalRequestConflict")
		}
		return r.Method == http.MethodPut
	})
	if f, err := put(t.Context(), b, "b"); !errors.Is(err, uploads.ErrUnavailable) {
		t.Errorf("%+v, %v", f, err)
	}
}

// Each error of a service has the meaning that it has in a folder.
func TestErrors(t *testing.T) {
	for _, row := range []struct {
		status int
		code   string
		want   error
	}{
		{507, "", syscall.ENOSPC}, {403, "QuotaExceeded", syscall.ENOSPC}, {507, "XMinioStorageFull", syscall.ENOSPC}, {400, "XMinioAdminBucketQuotaExceeded", syscall.ENOSPC},
		{503, "SlowDown", uploads.ErrUnavailable}, {500, "InternalError", uploads.ErrUnavailable}, {502, "", uploads.ErrUnavailable}, {429, "", uploads.ErrUnavailable},
		{409, "ObjectParentIsFile", uploads.ErrExists}, {400, "KeyTooLongError", uploads.ErrName}, {400, "EntityTooLarge", uploads.ErrTooLarge},
		{403, "AccessDenied", nil}, {404, "NoSuchBucket", nil},
	} {
		s := startService(t)
		b := s.open(t, Options{})
		if err := b.Probe(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.hook(func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodPut {
				respond(w, row.status, row.code)
			}
			return r.Method == http.MethodPut
		})
		f, err := put(t.Context(), b, "a")
		switch {
		case err == nil:
			t.Errorf("%+v: no error", row)
		case row.want != nil && !errors.Is(err, row.want):
			t.Errorf("%+v: %v", row, err)
		case row.want == nil && f.Code != uploads.CodeInternal:
			t.Errorf("%+v: %+v", row, f)
		}
		if strings.Contains(f.Reason, s.URL) || strings.Contains(f.Reason, "bucket") {
			t.Errorf("%+v: the client gets %q", row, f.Reason)
		}
	}
}

// A service that does not respond makes requests fail, and is no reason not to start.
func TestNoResponse(t *testing.T) {
	s := startService(t)
	b := s.open(t, Options{Timeout: 100 * time.Millisecond})
	hang := make(chan struct{})
	defer close(hang)
	s.hook(func(_ http.ResponseWriter, r *http.Request) bool {
		select {
		case <-hang:
		case <-r.Context().Done():
		}
		return true
	})
	if err := b.Probe(t.Context()); err != nil {
		t.Errorf("probe: %v", err)
	}
	if f, err := put(t.Context(), b, "a"); !errors.Is(err, uploads.ErrUnavailable) || f.Code != uploads.CodeInternal {
		t.Errorf("put: %+v, %v", f, err)
	}
	if _, err := b.Open(t.Context(), "d", "a"); !errors.Is(err, uploads.ErrUnavailable) {
		t.Errorf("open: %v", err)
	}
	if _, _, err := b.List(t.Context(), "d", "", 10); !errors.Is(err, uploads.ErrUnavailable) {
		t.Errorf("list: %v", err)
	}
	if err := b.Remove(t.Context(), "d", "a"); !errors.Is(err, uploads.ErrUnavailable) {
		t.Errorf("remove: %v", err)
	}
	s.Close() // and one that cannot be reached
	if _, err := put(t.Context(), b, "a"); !errors.Is(err, uploads.ErrUnavailable) {
		t.Errorf("put: %v", err)
	}
}

// A discarded upload removes its parts.
func TestDiscardAborts(t *testing.T) {
	s := startService(t)
	b := s.open(t, Options{})
	store := uploads.New(b.Backend(), uploads.Options{})
	u, err := store.Create(t.Context(), "d", "a")
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil { // it waits for the end of the probe
		t.Fatal(err)
	}
	probes := s.aborted
	if _, err := u.Write(t.Context(), make([]byte, DefaultPartSize+1)); err != nil {
		t.Fatal(err)
	}
	u.Discard()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if s.aborted != probes+1 || len(s.objects) != 0 {
		t.Errorf("aborted %d, objects %v", s.aborted-probes, s.objects)
	}
}

// With Options.Replace, files are replaced, also by a service without conditional writes,
// and there is no test of the service.
func TestReplace(t *testing.T) {
	s := startService(t)
	b := s.open(t, Options{Replace: true})
	if err := b.Probe(t.Context()); err != nil || s.count("") != 0 {
		t.Errorf("probe: %v, %d requests", err, s.count(""))
	}
	large := strings.Repeat("a", DefaultPartSize+1)
	for _, text := range []string{"one", "two", large, "three"} {
		s.hook(func(_ http.ResponseWriter, r *http.Request) bool {
			if r.Header.Get("If-None-Match") != "" {
				t.Errorf("%s has If-None-Match", r.Method)
			}
			return false
		})
		if _, err := putText(t.Context(), b, "a", text); err != nil {
			t.Fatal(err)
		}
		want := text
		if text == large {
			want = large[:DefaultPartSize] // this service stores only the first part
		}
		f, err := b.Open(t.Context(), "d", "a")
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(f); string(got) != want || err != nil {
			t.Errorf("%d bytes of %d, %v", len(got), len(want), err)
		}
	}
	// A failed request leaves the old object, and is an error although there is an object.
	s.hook(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPut {
			respond(w, http.StatusServiceUnavailable, "SlowDown")
		}
		return r.Method == http.MethodPut
	})
	if _, err := putText(t.Context(), b, "a", "four"); !errors.Is(err, uploads.ErrUnavailable) {
		t.Errorf("put: %v", err)
	}
}
