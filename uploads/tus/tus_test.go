package tus

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/galeserver/gale/pool"
	"github.com/galeserver/gale/uploads"
)

// The bytes of an incomplete body are kept, unless the request has a checksum.
func TestIncompleteBody(t *testing.T) {
	f := newFixture(t, t.TempDir(), Options{})
	broken := errors.New("connection reset")
	id := f.create("10", "")
	body := func(s string) io.Reader { return io.MultiReader(strings.NewReader(s), iotest.ErrReader(broken)) }
	if _, err := f.do("PATCH", id, body("hello"), "Upload-Offset", "0"); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
	if got := f.want(200, "HEAD", id, "").get("Upload-Offset"); got != "5" {
		t.Errorf("offset %s", got)
	}
	if _, err := f.do("PATCH", id, body("wo"), "Upload-Offset", "5", "Upload-Checksum", "md5 1B2M2Y8AsgTpgAmY7PhCfg=="); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
	f.want(413, "PATCH", id, "world!", "Upload-Offset", "5")
	f.want(204, "PATCH", id, "world", "Upload-Offset", "5")
	f.wantStored("a", "helloworld")
}

// If one slot of the state is invalid, the other one is used.
func TestTornState(t *testing.T) {
	f := newFixture(t, t.TempDir(), Options{})
	id := f.create("10", "ab")
	f.want(204, "PATCH", id, "cd", "Upload-Offset", "2")
	path := f.dataPath(id) + stateSuffix
	valid, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for slot, want := range []string{"2", "4"} { // slot 0 has offset 4, slot 1 has offset 2
		for _, at := range []int{0, 20, 200} {
			torn := append([]byte(nil), valid...)
			torn[slot*slotSize+at] ^= 1
			if err := os.WriteFile(path, torn, 0o600); err != nil {
				t.Fatal(err)
			}
			if got := f.want(200, "HEAD", id, "").get("Upload-Offset"); got != want {
				t.Errorf("slot %d torn at %d: offset %s, want %s", slot, at, got, want)
			}
		}
	}
	torn := append([]byte(nil), valid...)
	torn[0], torn[slotSize] = 'x', 'x'
	if err := os.WriteFile(path, torn, 0o600); err != nil {
		t.Fatal(err)
	}
	f.want(410, "HEAD", id, "")
}

// If a process is killed after it has published the file and before it has saved the state, the
// next request or the sweep calls finish again. The file and the id for Stored are the same.
func TestKillAfterPublish(t *testing.T) {
	for _, again := range []string{"HEAD", "sweep"} {
		var stored []string
		f := newFixture(t, t.TempDir(), Options{Stored: func(id string, file uploads.File) {
			stored = append(stored, id)
			if file.ID != id || file.Filename != "a" {
				t.Errorf("%s: %+v", id, file)
			}
		}})
		id := f.create("5", "hel")
		state, err := os.ReadFile(f.dataPath(id) + stateSuffix)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Link(f.dataPath(id), f.dataPath(id)+"-kept"); err != nil {
			t.Fatal(err)
		}
		f.want(204, "PATCH", id, "lo", "Upload-Offset", "3")
		// Restore the files as they were after Publish: complete, state not saved.
		for _, err := range []error{os.Rename(f.dataPath(id)+"-kept", f.dataPath(id)), os.WriteFile(f.dataPath(id)+stateSuffix, state, 0o600),
			os.Remove(filepath.Join(f.dir, folderName, endedName, id+stateSuffix))} {
			if err != nil {
				t.Fatal(err)
			}
		}
		f.edit(id, func(p *Progress) { p.Offset, p.Hash = 5, nil }) // the state of the hash may be missing
		if again == "sweep" {
			if err := f.sweep(t.Context()); err != nil {
				t.Error(err)
			}
		}
		sum := sha256.Sum256([]byte("hello"))
		resp := f.want(200, "HEAD", id, "")
		if file := f.want(200, "GET", id, "").Body.(uploads.Response); file.Files[0].SHA256 != hex.EncodeToString(sum[:]) || resp.File == nil || resp.File.ID != id {
			t.Errorf("%s: %+v", again, file)
		}
		f.wantStored("a", "hello")
		if len(stored) != 2 || stored[0] != id || stored[1] != id {
			t.Errorf("%s: Stored called for %q", again, stored)
		}
		if left, err := os.ReadDir(filepath.Join(f.dir, folderName, unfinishedName)); err != nil || len(left) != 0 {
			t.Errorf("%s: left %v, %v", again, left, err)
		}
	}
}

// If the name is in use when the upload is complete, the upload is discarded. HEAD must
// not report it as complete.
func TestNameTakenBeforeEnd(t *testing.T) {
	f := newFixture(t, t.TempDir(), Options{})
	first, second := f.create("5", ""), f.create("5", "hel")
	f.want(204, "PATCH", first, "first", "Upload-Offset", "0")
	resp := f.want(409, "PATCH", second, "lo", "Upload-Offset", "3")
	if body, ok := resp.Body.(uploads.Response); !ok || body.Code != uploads.CodeExists {
		t.Errorf("%+v", resp.Body)
	}
	f.want(410, "HEAD", second, "")
	f.wantStored("a", "first")
}

// The whole length of an upload counts for MaxUnfinished, so that it can be finished.
func TestMaxUnfinished(t *testing.T) {
	f := newFixture(t, t.TempDir(), Options{MaxUnfinished: 10, MaxUploads: 3})
	id := f.create("6", "")
	full := f.want(507, "POST", "", "", "Upload-Length", "5")
	if full.get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	deferred := f.create("", "", "Upload-Defer-Length", "1")
	f.create("4", "")
	f.want(507, "POST", "", "", "Upload-Length", "0") // over MaxUploads
	f.want(204, "PATCH", deferred, "abcd", "Upload-Offset", "0")
	f.want(507, "PATCH", deferred, "e", "Upload-Offset", "4")
	f.want(204, "PATCH", id, "123456", "Upload-Offset", "0")
	f.want(204, "PATCH", deferred, "e", "Upload-Offset", "4")
}

// A length that is sent after the creation also counts for MaxUnfinished: the whole length, and
// only once.
func TestMaxUnfinishedDeferredLength(t *testing.T) {
	f := newFixture(t, t.TempDir(), Options{MaxUnfinished: 10})
	var ids []string
	for _, name := range []string{"YQ==", "Yg==", "Yw=="} {
		ids = append(ids, f.create("", "ab", "Upload-Defer-Length", "1", "Upload-Metadata", "filename "+name))
	}
	f.want(204, "PATCH", ids[0], "", "Upload-Offset", "2", "Upload-Length", "6")
	f.want(507, "PATCH", ids[1], "cde", "Upload-Offset", "2", "Upload-Length", "5")
	if resp := f.want(200, "HEAD", ids[1], ""); resp.get("Upload-Offset") != "2" || resp.get("Upload-Defer-Length") != "1" {
		t.Errorf("a refused request has changed the upload: %v", resp.Header)
	}
	f.want(204, "PATCH", ids[1], "", "Upload-Offset", "2", "Upload-Length", "2")
	f.want(204, "PATCH", ids[0], "cdef", "Upload-Offset", "2", "Upload-Length", "6")
	f.wantStored("a", "abcdef")
	f.wantStored("b", "ab")
}

// An expired upload is discarded, and after the retention its id is unknown.
func TestExpiry(t *testing.T) {
	f := newFixture(t, t.TempDir(), Options{Retention: time.Hour})
	id, kept := f.create("5", "hel"), f.create("5", "")
	f.edit(id, func(p *Progress) { p.Expires = time.Now().Unix() })
	f.want(410, "PATCH", id, "lo", "Upload-Offset", "3")
	f.want(410, "GET", id, "")
	if err := f.sweep(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(f.dataPath(id)); err == nil {
		t.Error("the data is still there")
	}
	f.want(410, "HEAD", id, "")
	old := time.Now().Add(-2 * time.Hour)
	if err := os.Chtimes(filepath.Join(f.dir, folderName, endedName, id+stateSuffix), old, old); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"stray", "broken" + stateSuffix} { // left by killed processes
		if err := errors.Join(os.WriteFile(f.dataPath(name), nil, 0o600), os.Chtimes(f.dataPath(name), old, old)); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.sweep(t.Context()); err != nil {
		t.Error(err)
	}
	f.want(404, "HEAD", id, "")
	if _, err := os.Stat(f.dataPath("stray")); err == nil {
		t.Error("a stray file is still there")
	}
	f.want(204, "PATCH", kept, "hello", "Upload-Offset", "0")
}

// A request with a stalled client is stopped by the next request for the upload, in any process,
// and by Close. The received bytes are kept.
func TestTakeover(t *testing.T) {
	dir := t.TempDir()
	o := Options{TakeoverTimeout: time.Hour} // must not be reached
	f, other := newFixture(t, dir, o), newFixture(t, dir, o)
	id := f.create("10", "")
	stalledPatch := func(offset, sent string) (end func() (Response, error)) {
		reader, writer := io.Pipe()
		var resp Response
		var err error
		var done sync.WaitGroup
		done.Go(func() { // ends when the request is interrupted
			r := &Request{Method: "PATCH", ID: id, Length: -1, Body: reader, Interrupt: func() { _ = writer.CloseWithError(io.ErrUnexpectedEOF) },
				Header: func(name string) string {
					return map[string]string{"Tus-Resumable": Version, "Content-Type": offsetStream, "Upload-Offset": offset}[name]
				}}
			resp, err = f.Serve(t.Context(), r)
			_ = reader.CloseWithError(fmt.Errorf("response %d %v, %w", resp.Status, resp.Body, err))
		})
		if _, err := io.WriteString(writer, sent); err != nil {
			t.Fatal(err) // the response came before the bytes were read
		}
		return func() (Response, error) { done.Wait(); return resp, err }
	}
	end := stalledPatch("0", "hel")
	if got := other.want(200, "HEAD", id, "").get("Upload-Offset"); got != "3" {
		t.Errorf("offset %s", got)
	}
	if resp, err := end(); err != nil || resp.Status != http.StatusLocked {
		t.Errorf("request interrupted by HEAD: %d, %v", resp.Status, err)
	}
	first := stalledPatch("3", "l")
	second := stalledPatch("4", "") // returns when the request holds the lock
	if resp, err := first(); err != nil || resp.Status != http.StatusLocked {
		t.Errorf("request interrupted by PATCH: %d, %v", resp.Status, err)
	}
	if got := other.want(200, "HEAD", id, "").get("Upload-Offset"); got != "4" { // the request that took over can be taken over too
		t.Errorf("offset %s", got)
	}
	if resp, err := second(); err != nil || resp.Status != http.StatusLocked {
		t.Errorf("request interrupted after a takeover: %d, %v", resp.Status, err)
	}
	end = stalledPatch("4", "o")
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if _, err := end(); !errors.Is(err, pool.ErrClosed) {
		t.Errorf("request interrupted by Close: %v", err)
	}
	if _, err := f.do("HEAD", id, nil); !errors.Is(err, pool.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	other.want(204, "PATCH", id, "world", "Upload-Offset", "5")
	other.wantStored("a", "helloworld")
}

// A request that cannot get the lock within TakeoverTimeout gets 423.
func TestLockTimeout(t *testing.T) {
	f := newFixture(t, t.TempDir(), Options{TakeoverTimeout: 50 * time.Millisecond})
	id := f.create("10", "")
	e, err := f.acquire(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	f.want(423, "HEAD", id, "")
	if e.held.Wanted() {
		t.Error("a request that has given up still holds waiterByte")
	}
	if err := f.sweep(t.Context()); err != nil {
		t.Error(err)
	}
	e.close()
	f.want(200, "HEAD", id, "")
}

// If joining the parts was interrupted, the same POST continues it.
func TestResumeConcatenation(t *testing.T) {
	f := newFixture(t, t.TempDir(), Options{})
	first, second := f.create("3", "hel", "Upload-Concat", concatPartial), f.create("2", "lo", "Upload-Concat", concatPartial)
	attr := Attributes{Directory: "tus", Filename: "a", Parts: []string{first, second}, Concat: "final;" + first + " " + second}
	attr.ID = finalID(attr)
	e, err := f.newEntry(t.Context(), State{attr, Progress{Length: 5, Expires: time.Now().Add(time.Hour).Unix()}})
	if err != nil {
		t.Fatal(err)
	}
	u, err := e.receive(t.Context(), &Request{Body: strings.NewReader("hell")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	u.Pause()
	e.close()
	if got := f.want(200, "HEAD", attr.ID, "").get("Upload-Offset"); got != "" {
		t.Errorf("offset %s of an upload that is not joined", got)
	}
	f.want(403, "PATCH", attr.ID, "o", "Upload-Offset", "4")
	resp, err := f.do("POST", "", strings.NewReader(""), "Upload-Concat", attr.Concat, "Content-Type", "")
	if err != nil || resp.get("Location") != DefaultBase+attr.ID {
		t.Errorf("%+v, %v", resp, err)
	}
	f.wantStored("a", "hello")
	f.want(410, "HEAD", first, "")
}

// uploads.Options.Stored gets the id of the upload, also when it is called again.
func TestStoredIDIsUploadID(t *testing.T) {
	dir := t.TempDir()
	failure := errors.New("failure")
	var ids []string
	ended := make(chan struct{})
	open := func(stored func(id string) error) *uploads.Store {
		store, err := uploads.Open(dir, uploads.Options{Stored: func(_ context.Context, id string, _ uploads.File) error { return stored(id) }})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = store.Close() })
		return store
	}
	s, err := New(open(func(id string) error {
		ids = append(ids, id)
		return failure
	}), Options{})
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{s, t, dir}
	id := f.create("5", "hel")
	resp := f.want(204, "PATCH", id, "lo", "Upload-Offset", "3")
	if resp.File == nil || resp.File.ID != id || !errors.Is(resp.File.StoredErr, failure) || resp.File.Code != uploads.CodeStored {
		t.Errorf("%+v", resp.File)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	other := open(func(id string) error {
		ids = append(ids, id)
		close(ended)
		return nil
	})
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error)
	go func() { ran <- other.Run(ctx) }()
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Error("never called again")
	}
	cancel()
	if err := <-ran; err != nil {
		t.Error(err)
	}
	if len(ids) != 2 || ids[0] != id || ids[1] != id {
		t.Errorf("called for %q, want twice %s", ids, id)
	}
}
