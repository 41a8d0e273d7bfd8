package s3

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // the ETag of S3
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/galeserver/gale/uploads"
)

// service responds to the requests that this package makes. The conformance suites run with a
// real service too, in test/storage.
type service struct {
	*httptest.Server
	ignorePut        bool // ignore If-None-Match of PutObject
	ignoreCompletion bool // ignore If-None-Match of CompleteMultipartUpload
	ignoreMatch      bool // ignore If-Match of PutObject
	noCopy           bool // respond 501 to UploadPartCopy
	prefix           string

	mu         sync.Mutex
	before     func(w http.ResponseWriter, r *http.Request) bool // see hook
	after      func(w http.ResponseWriter, r *http.Request)      // called before the response is sent
	objects    map[string]object
	multiparts map[string]*multipart // by id
	aborted    int
	log        []string // method, path and query of the requests
}

type object struct {
	text     []byte
	header   http.Header
	modified time.Time
}

func (o object) etag() string { return fmt.Sprintf(`"%x"`, md5.Sum(o.text)) } //nolint:gosec // see the import

type multipart struct {
	key    string
	header http.Header
	parts  map[int]object
	began  time.Time
}

func startService(t testing.TB) *service {
	t.Setenv("AWS_ACCESS_KEY_ID", "id")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	return newService(t)
}

func newService(t testing.TB) *service {
	s := &service{prefix: "some/prefix", objects: map[string]object{}, multiparts: map[string]*multipart{}}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

// open opens the bucket of the service.
func (s *service) open(t testing.TB, o Options) *Bucket {
	t.Helper()
	target, err := Parse("s3://bucket/" + s.prefix + "?endpoint=" + s.URL)
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
	send := s.handle(w, r, body)
	if send != nil {
		send()
	}
}

// handle handles a request. If it returns a function, that sends the content of an object: the
// client may read it slowly, and make other requests meanwhile.
func (s *service) handle(w http.ResponseWriter, r *http.Request, body []byte) (send func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log = append(s.log, r.Method+" "+r.URL.Path+" "+r.URL.RawQuery)
	switch query := r.URL.Query(); {
	case query.Has("uploadId"), r.Method == http.MethodPost:
		s.serveMultipart(w, r, query, body)
	case query.Has("list-type"):
		s.list(w, query.Get("prefix"))
	case query.Has("uploads"):
		s.listMultiparts(w, query.Get("prefix"))
	default:
		send = s.serveObject(w, r, body)
	}
	if s.after != nil {
		s.after(w, r)
	}
	return send
}

func (s *service) serveObject(w http.ResponseWriter, r *http.Request, body []byte) (send func()) {
	key := r.URL.Path
	stored, exists := s.objects[key]
	match := r.Header.Get("If-Match")
	switch {
	case r.Method == http.MethodPut && !s.ignorePut && exists && r.Header.Get("If-None-Match") == "*",
		r.Method == http.MethodPut && !s.ignoreMatch && match != "" && (!exists || match != stored.etag()):
		respond(w, http.StatusPreconditionFailed, "PreconditionFailed")
	case r.Method == http.MethodPut:
		o := object{body, r.Header.Clone(), time.Now()}
		s.objects[key] = o
		w.Header().Set("ETag", o.etag())
	case r.Method == http.MethodDelete:
		delete(s.objects, key)
		w.WriteHeader(http.StatusNoContent)
	case !exists:
		respond(w, http.StatusNotFound, "NoSuchKey")
	default:
		for _, name := range []string{metaID, metaSum} {
			w.Header().Set("X-Amz-Meta-"+name, stored.header.Get("X-Amz-Meta-"+name))
		}
		w.Header().Set("ETag", stored.etag())
		return func() { http.ServeContent(w, r, "", stored.modified, bytes.NewReader(stored.text)) }
	}
	return nil
}

func (s *service) serveMultipart(w http.ResponseWriter, r *http.Request, query url.Values, body []byte) {
	if query.Has("uploads") {
		id := fmt.Sprint("U", len(s.log))
		s.multiparts[id] = &multipart{r.URL.Path, r.Header.Clone(), map[int]object{}, time.Now()}
		fmt.Fprintf(w, "<InitiateMultipartUploadResult><UploadId>%s</UploadId></InitiateMultipartUploadResult>", id)
		return
	}
	m := s.multiparts[query.Get("uploadId")]
	switch {
	case m == nil || m.key != r.URL.Path:
		respond(w, http.StatusNotFound, "NoSuchUpload")
	case r.Method == http.MethodPut:
		s.part(w, r, m, query.Get("partNumber"), body)
	case r.Method == http.MethodDelete:
		s.aborted++
		delete(s.multiparts, query.Get("uploadId"))
		w.WriteHeader(http.StatusNoContent)
	default:
		if s.complete(w, r, m, body) {
			delete(s.multiparts, query.Get("uploadId"))
		}
	}
}

// part stores a part, or copies one.
func (s *service) part(w http.ResponseWriter, r *http.Request, m *multipart, number string, text []byte) {
	n, err := strconv.Atoi(number)
	if err != nil || n < 1 || n > 10_000 {
		respond(w, http.StatusBadRequest, "InvalidArgument")
		return
	}
	source := r.Header.Get("X-Amz-Copy-Source")
	if source != "" {
		from, exists := s.objects["/"+source]
		var first, last int
		count, err := fmt.Sscanf(r.Header.Get("X-Amz-Copy-Source-Range"), "bytes=%d-%d", &first, &last)
		switch {
		case s.noCopy:
			respond(w, http.StatusNotImplemented, "NotImplemented")
			return
		case !exists:
			respond(w, http.StatusNotFound, "NoSuchKey")
			return
		case count != 2 || err != nil || last >= len(from.text):
			respond(w, http.StatusBadRequest, "InvalidRange")
			return
		}
		text = from.text[first : last+1]
	}
	m.parts[n] = object{text: text}
	if source == "" {
		w.Header().Set("ETag", m.parts[n].etag())
		return
	}
	_ = xml.NewEncoder(w).Encode(struct { // the client may have gone
		XMLName xml.Name `xml:"CopyPartResult"`
		ETag    string
	}{ETag: m.parts[n].etag()})
}

// complete joins the parts of a multipart upload.
func (s *service) complete(w http.ResponseWriter, r *http.Request, m *multipart, body []byte) bool {
	var request struct {
		Part []struct {
			PartNumber int
			ETag       string
		}
	}
	if err := xml.Unmarshal(body, &request); err != nil {
		respond(w, http.StatusBadRequest, "MalformedXML")
		return false
	}
	if _, exists := s.objects[m.key]; exists && !s.ignoreCompletion && r.Header.Get("If-None-Match") == "*" {
		respond(w, http.StatusPreconditionFailed, "PreconditionFailed")
		return false
	}
	whole := object{header: m.header, modified: time.Now()}
	for i, p := range request.Part {
		part, ok := m.parts[p.PartNumber]
		switch {
		case !ok || strings.Trim(p.ETag, `"`) != strings.Trim(part.etag(), `"`):
			respond(w, http.StatusBadRequest, "InvalidPart")
			return false
		case i > 0 && request.Part[i-1].PartNumber >= p.PartNumber:
			respond(w, http.StatusBadRequest, "InvalidPartOrder")
			return false
		case i < len(request.Part)-1 && len(part.text) < minPartSize:
			respond(w, http.StatusBadRequest, "EntityTooSmall")
			return false
		}
		whole.text = append(whole.text, part.text...)
	}
	s.objects[m.key] = whole
	fmt.Fprint(w, "<CompleteMultipartUploadResult><Bucket>bucket</Bucket><ETag>e</ETag></CompleteMultipartUploadResult>")
	return true
}

// list lists the objects of a prefix.
func (s *service) list(w http.ResponseWriter, prefix string) {
	type contents struct {
		Key, ETag    string
		LastModified time.Time
		Size         int
	}
	var result struct {
		XMLName  xml.Name `xml:"ListBucketResult"`
		Contents []contents
	}
	for path, o := range s.objects {
		if key := strings.TrimPrefix(path, "/bucket/"); strings.HasPrefix(key, prefix) {
			result.Contents = append(result.Contents, contents{key, o.etag(), o.modified.UTC(), len(o.text)})
		}
	}
	slices.SortFunc(result.Contents, func(a, b contents) int { return strings.Compare(a.Key, b.Key) })
	_ = xml.NewEncoder(w).Encode(result) // the client may have gone
}

// listMultiparts lists the multipart uploads of a prefix.
func (s *service) listMultiparts(w http.ResponseWriter, prefix string) {
	type upload struct {
		Key, UploadId string // as in the XML
		Initiated     time.Time
	}
	var result struct {
		XMLName xml.Name `xml:"ListMultipartUploadsResult"`
		Upload  []upload
	}
	for id, m := range s.multiparts {
		if key := strings.TrimPrefix(m.key, "/bucket/"); strings.HasPrefix(key, prefix) {
			result.Upload = append(result.Upload, upload{key, id, m.began.UTC()})
		}
	}
	_ = xml.NewEncoder(w).Encode(result) // the client may have gone
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
