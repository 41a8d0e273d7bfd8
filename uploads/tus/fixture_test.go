package tus

import (
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/galeserver/gale/uploads"
)

// fixture is a server with the folder of its store.
type fixture struct {
	*Server
	t   *testing.T
	dir string
}

func newFixture(t *testing.T, dir string, o Options) *fixture {
	t.Helper()
	store, err := uploads.Open(dir, uploads.Options{MaxFile: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(store, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(s.Close(), store.Close()); err != nil {
			t.Error(err)
		}
	})
	return &fixture{s, t, dir}
}

// do sends a request with a body of unknown length. header is a list of names and values.
// Tus-Resumable, Content-Type and Upload-Metadata have defaults.
func (f *fixture) do(method, id string, body io.Reader, header ...string) (Response, error) {
	r := &Request{Method: method, ID: id, Length: -1, Body: body, Header: func(name string) string {
		for i := 0; i < len(header); i += 2 {
			if header[i] == name {
				return header[i+1]
			}
		}
		return map[string]string{"Tus-Resumable": Version, "Content-Type": offsetStream, "Upload-Metadata": "filename YQ=="}[name]
	}}
	return f.Serve(f.t.Context(), r)
}

func (resp Response) get(name string) string {
	for _, field := range resp.Header {
		if field[0] == name {
			return field[1]
		}
	}
	return ""
}

// want sends a request and fails the test if the response has another status.
func (f *fixture) want(status int, method, id, body string, header ...string) Response {
	f.t.Helper()
	resp, err := f.do(method, id, strings.NewReader(body), header...)
	if err != nil || resp.Status != status {
		f.t.Fatalf("%s %s: %d %v, %v; want %d", method, id, resp.Status, resp.Body, err, status)
	}
	return resp
}

// create creates an upload of the given length with body as its first bytes.
func (f *fixture) create(length, body string, header ...string) (id string) {
	f.t.Helper()
	resp := f.want(http.StatusCreated, "POST", "", body, append(header, "Upload-Length", length)...)
	return strings.TrimPrefix(resp.get("Location"), DefaultBase)
}

func (f *fixture) wantStored(name, content string) {
	f.t.Helper()
	if got, err := os.ReadFile(filepath.Join(f.dir, "tus", name)); err != nil || string(got) != content {
		f.t.Errorf("%s is %q, %v; want %q", name, got, err, content)
	}
}

func (f *fixture) dataPath(id string) string {
	return filepath.Join(f.dir, folderName, unfinishedName, id)
}

// edit changes the state of an upload on disk.
func (f *fixture) edit(id string, change func(*Progress)) {
	f.t.Helper()
	e, err := f.acquire(f.t.Context(), id)
	if err != nil {
		f.t.Fatal(err)
	}
	defer e.close()
	change(&e.Progress)
	if err := e.held.Save(f.t.Context(), e.Progress); err != nil {
		f.t.Fatal(err)
	}
}
