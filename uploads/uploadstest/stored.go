package uploadstest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"mime/multipart"
	"sync"
	"testing"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/uploads"
)

// calls records calls of Options.Stored.
type calls struct {
	mu   sync.Mutex
	all  []call
	fail error
}

type call struct {
	id string
	f  uploads.File
}

func (c *calls) stored(_ context.Context, id string, f uploads.File) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = append(c.all, call{id, f})
	return c.fail
}

func (c *calls) list() []call {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]call(nil), c.all...)
}

// run runs the store until the end of the test.
func run(t *testing.T, s *uploads.Store) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }() // ends with ctx
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// form stores the files of a multipart form.
func form(t *testing.T, place Place, large int) {
	s := place.Open(t, uploads.Options{})
	mustPut(t, s, "d", "taken", []byte("old"))
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	for i, n := range [][2]string{{"d", "small"}, {"d", "taken"}, {"..", "x"}, {"d", "large"}, {"d", "small"}} {
		part, err := w.CreateFormFile(n[0], n[1])
		if err == nil {
			_, err = part.Write(content(uint64(i), 1000+i*large/2))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	cut := body.Len() - 10
	if _, err := s.Multipart(t.Context(), bytes.NewReader(body.Bytes()[:cut]), w.Boundary()); err == nil {
		t.Error("half a form is no error")
	}
	wantNone(t, s, "d", "small")
	wantNone(t, s, "d", "large")
	response, err := s.Multipart(t.Context(), &body, w.Boundary())
	codes := []int{}
	for _, f := range response.Files {
		codes = append(codes, f.Code)
	}
	if err != nil || fmt.Sprint(codes) != "[200 501 400 200 501]" {
		t.Errorf("%v, %+v", err, response)
	}
	want(t, s, "d", "small", content(0, 1000))
	want(t, s, "d", "taken", []byte("old"))
	want(t, s, "d", "large", content(3, 1000+3*large/2))
}

// stored checks the call for each stored file that the filter selects.
func stored(t *testing.T, place Place, large int) {
	var c calls
	s := place.Open(t, uploads.Options{Stored: c.stored, StoredFilter: func(_, filename string) bool { return filename != "not" }})
	mustPut(t, s, "d", "not", nil)
	var files []uploads.File
	for i, size := range []int{10, large + 10} {
		files = append(files, mustPut(t, s, "d", fmt.Sprint(size), content(uint64(i), size)))
		if _, err := put(t, s, "d", fmt.Sprint(size), nil); !errors.Is(err, uploads.ErrExists) {
			t.Errorf("again: %v", err)
		}
	}
	all := c.list()
	if len(all) != len(files) || all[0].id == all[1].id {
		t.Fatalf("calls: %+v", all)
	}
	for i, f := range files {
		if f.ID == "" || f.StoredErr != nil || all[i].id != f.ID || all[i].f != f {
			t.Errorf("call %+v for %+v", all[i], f)
		}
	}
}

// storedLater stops a server whose calls fail. The next server calls Stored with the same
// ids.
func storedLater(t *testing.T, place Place, large int) {
	failing := calls{fail: errors.New("not now")}
	s := place.Open(t, uploads.Options{Stored: failing.stored})
	ids := map[string]bool{}
	for i, size := range []int{10, large + 10} {
		f := mustPut(t, s, "d", fmt.Sprint(size), content(uint64(i), size))
		if f.StoredErr == nil {
			t.Errorf("no error of Stored: %+v", f)
		}
		ids[f.ID] = true
	}
	var c calls
	stop := run(t, place.Open(t, uploads.Options{Stored: c.stored}))
	testutil.Eventually(t, "Stored is called for both files", func() bool {
		called := map[string]bool{}
		for _, one := range c.list() {
			called[one.id] = true
			if !ids[one.id] || one.f.SHA256 == "" || one.f.Filename != fmt.Sprint(one.f.Size) {
				t.Errorf("call %+v", one)
			}
		}
		return len(called) == len(ids)
	})
	stop()
	if n := len(c.list()); n != len(ids) {
		t.Errorf("%d calls for %d files", n, len(ids))
	}
}

// storedNever removes or replaces files before Stored has succeeded: it is not called for
// them any more.
func storedNever(t *testing.T, place Place, _ int) {
	failing := calls{fail: errors.New("not now")}
	s := place.Open(t, uploads.Options{Stored: failing.stored})
	for _, name := range []string{"removed", "replaced", "kept"} {
		mustPut(t, s, "d", name, []byte("content"))
	}
	without := place.Open(t, uploads.Options{})
	for _, name := range []string{"removed", "replaced"} {
		if err := without.Remove(t.Context(), "d", name); err != nil {
			t.Fatal(err)
		}
	}
	mustPut(t, without, "d", "replaced", []byte("another"))
	var c calls
	run(t, place.Open(t, uploads.Options{Stored: c.stored}))
	testutil.Eventually(t, "Stored is called for the file that was kept", func() bool { return len(c.list()) > 0 })
	for _, one := range c.list() {
		if one.f.Filename != "kept" {
			t.Errorf("call for %s", one.f.Filename)
		}
	}
}
