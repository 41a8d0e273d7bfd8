package s3

import (
	"context"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/galeserver/gale/uploads"
)

// service responds to the requests that these tests need. The conformance suite runs with a
// real service, in test/storage.
type service struct {
	*httptest.Server
	ignorePut        bool // ignore If-None-Match of PutObject
	ignoreCompletion bool // ignore If-None-Match of CompleteMultipartUpload

	mu      sync.Mutex
	before  func(w http.ResponseWriter, r *http.Request) bool // see hook
	after   func(w http.ResponseWriter, r *http.Request)      // called before the response is sent
	objects map[string]object
	parts   map[string][]byte
	aborted int
	log     []string // method, path and query of the requests
}

type object struct {
	text   []byte
	header http.Header
}

func startService(t *testing.T) *service {
	t.Setenv("AWS_ACCESS_KEY_ID", "id")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	s := &service{objects: map[string]object{}, parts: map[string][]byte{}}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

// open opens the bucket of the service.
func (s *service) open(t *testing.T, o Options) *Bucket {
	t.Helper()
	target, err := Parse("s3://bucket/some/prefix?endpoint=" + s.URL)
	if err != nil {
		t.Fatal(err)
	}
	o.Temp = t.TempDir()
	if o.Timeout == 0 {
		o.Timeout = time.Minute
	}
	b, err := Open(target, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	s.mu.Lock()
	before := s.before
	s.mu.Unlock()
	if before != nil && before(w, r) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log = append(s.log, r.Method+" "+r.URL.Path+" "+r.URL.RawQuery)
	query, key := r.URL.Query(), r.URL.Path
	stored, exists := s.objects[key]
	refuse := exists && r.Header.Get("If-None-Match") == "*"
	switch {
	case r.Method == http.MethodPost && query.Has("uploads"):
		fmt.Fprint(w, "<InitiateMultipartUploadResult><UploadId>U</UploadId></InitiateMultipartUploadResult>")
	case r.Method == http.MethodPut && query.Has("uploadId"):
		s.parts[query.Get("partNumber")] = body
		w.Header().Set("ETag", `"part"`)
	case r.Method == http.MethodPost && refuse && !s.ignoreCompletion, r.Method == http.MethodPut && refuse && !s.ignorePut:
		respond(w, http.StatusPreconditionFailed, "PreconditionFailed")
	case r.Method == http.MethodPost:
		s.objects[key] = object{text: s.parts["1"]}
		fmt.Fprint(w, "<CompleteMultipartUploadResult><Bucket>bucket</Bucket><ETag>e</ETag></CompleteMultipartUploadResult>")
	case r.Method == http.MethodPut:
		s.objects[key] = object{body, r.Header.Clone()}
		w.Header().Set("ETag", `"whole"`)
	case r.Method == http.MethodDelete && query.Has("uploadId"):
		s.aborted++
		w.WriteHeader(http.StatusNoContent)
	case r.Method == http.MethodDelete:
		delete(s.objects, key)
		w.WriteHeader(http.StatusNoContent)
	case !exists:
		respond(w, http.StatusNotFound, "NoSuchKey")
	default:
		for _, name := range []string{metaID, metaSum} {
			w.Header().Set("X-Amz-Meta-"+name, stored.header.Get("X-Amz-Meta-"+name))
		}
		w.Header().Set("ETag", `"whole"`)
		http.ServeContent(w, r, "", time.Unix(1, 0), strings.NewReader(string(stored.text)))
	}
	if s.after != nil {
		s.after(w, r)
	}
}

// hook sets a function that is called before a request is handled. It reports whether it has
// responded.
func (s *service) hook(before func(w http.ResponseWriter, r *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before = before
}

// respond sends an error.
func respond(w http.ResponseWriter, status int, code string) {
	w.WriteHeader(status)
	_ = xml.NewEncoder(w).Encode(struct { // the client may have gone
		XMLName xml.Name `xml:"Error"`
		Code    string
	}{Code: code})
}

// count returns the number of requests that contain text.
func (s *service) count(text string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, line := range s.log {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

// put stores a file with the content "content".
func put(ctx context.Context, b *Bucket, filename string) (uploads.File, error) {
	return putText(ctx, b, filename, "content")
}

func putText(ctx context.Context, b *Bucket, filename, text string) (uploads.File, error) {
	s := uploads.New(b.Backend(), uploads.Options{})
	u, err := s.Create(ctx, "d", filename)
	if err != nil {
		return uploads.NewFile("d", filename, err), err
	}
	defer u.Discard()
	if _, err := u.Write(ctx, []byte(text)); err != nil {
		return uploads.NewFile("d", filename, err), err
	}
	return u.Publish(ctx, "d", filename)
}
