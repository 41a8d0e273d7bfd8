package tustest

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/uploads"
	"github.com/galeserver/gale/uploads/tus"
)

// deferred sends the length later.
func deferred(t *testing.T, place Place, large int) {
	a, b := open(t, place, uploads.Options{}, tus.Options{}), open(t, place, uploads.Options{}, tus.Options{})
	text := content(5, large+20)
	resp := a.want(http.StatusCreated, "POST", "", text[:10], "Upload-Defer-Length", "1")
	id := strings.TrimPrefix(get(resp, "Location"), tus.DefaultBase)
	b.patch(id, 10, text[10:large+10])
	if resp := a.want(http.StatusOK, "HEAD", id, nil); get(resp, "Upload-Defer-Length") != "1" {
		t.Errorf("%v", resp.Header)
	}
	size, at := strconv.Itoa(len(text)), strconv.Itoa(large+10)
	a.want(http.StatusBadRequest, "PATCH", id, nil, "Upload-Offset", at, "Upload-Length", "9")
	a.want(http.StatusNoContent, "PATCH", id, nil, "Upload-Offset", at, "Upload-Length", size)
	b.want(http.StatusBadRequest, "PATCH", id, nil, "Upload-Offset", at, "Upload-Length", at)
	b.patch(id, large+10, text[large+10:])
	a.wantStored(id, "a", text)
}

// limits fills the place with unfinished uploads.
func limits(t *testing.T, place Place, large int) {
	o := tus.Options{MaxUnfinished: int64(2 * large), MaxUploads: 3}
	a, b := open(t, place, uploads.Options{}, o), open(t, place, uploads.Options{}, o)
	name := func(n string) []string { return []string{"Upload-Metadata", "filename " + n} }
	first := a.create(large, nil, name("YQ==")...)
	b.create(large-10, []byte("x"), name("Yg==")...)
	b.want(http.StatusInsufficientStorage, "POST", "", nil, append(name("Yw=="), "Upload-Length", "11")...)
	resp := a.want(http.StatusCreated, "POST", "", nil, append(name("Yw=="), "Upload-Defer-Length", "1")...)
	third := strings.TrimPrefix(get(resp, "Location"), tus.DefaultBase)
	full := b.want(http.StatusInsufficientStorage, "POST", "", nil, append(name("ZA=="), "Upload-Length", "0")...)
	if get(full, "Retry-After") == "" {
		t.Error("no Retry-After")
	}
	b.want(http.StatusInsufficientStorage, "PATCH", third, nil, "Upload-Offset", "0", "Upload-Length", "11")
	b.patch(third, 0, content(6, 20)) // the limit is checked before the bytes arrive
	a.want(http.StatusInsufficientStorage, "PATCH", third, []byte("x"), "Upload-Offset", "20")
	a.want(http.StatusNoContent, "DELETE", first, nil)
	a.want(http.StatusNoContent, "PATCH", third, []byte("x"), "Upload-Offset", "20", "Upload-Length", "21")
	b.create(large-11, nil, name("ZA==")...)
	b.want(http.StatusInsufficientStorage, "POST", "", nil, append(name("ZQ=="), "Upload-Length", "22")...)
}

// concatenation joins parts of several sizes, which other processes have received.
func concatenation(t *testing.T, place Place, large int) {
	a, b := open(t, place, uploads.Options{}, tus.Options{}), open(t, place, uploads.Options{}, tus.Options{})
	for n, sizes := range [][]int{{3, 0, 4}, {large + 1, 10, large - 1, 2 * large}, {20, large + 2}} {
		var text []byte
		var ids []string
		for i, size := range sizes {
			part := content(byte(10*n+i), size)
			text = append(text, part...)
			id := a.create(size, part[:size/2], "Upload-Concat", "partial")
			if size > 0 {
				b.patch(id, size/2, part[size/2:])
			}
			b.wantOffset(id, size)
			ids = append(ids, id)
		}
		header := []string{"Upload-Concat", "final;/tus/" + strings.Join(ids, " /tus/"), "Content-Type", "", "Upload-Metadata", "filename " + []string{"YQ==", "Yg==", "Yw=="}[n]}
		var id string
		for _, c := range []client{b, a} { // the second time, the response was lost
			resp := c.want(http.StatusCreated, "POST", "", nil, header...)
			if id = strings.TrimPrefix(get(resp, "Location"), tus.DefaultBase); resp.File == nil || resp.File.SHA256 != sum(text) {
				t.Errorf("%+v", resp)
			}
		}
		a.wantStored(id, string(rune('a'+n)), text)
		a.want(http.StatusGone, "HEAD", ids[0], nil)
		b.want(http.StatusForbidden, "PATCH", id, nil, "Upload-Offset", strconv.Itoa(len(text)))
	}
}

// concatenationRefused joins what cannot be joined.
func concatenationRefused(t *testing.T, place Place, large int) {
	c := open(t, place, uploads.Options{MaxFile: int64(2 * large)}, tus.Options{})
	join := func(status int, ids ...string) {
		t.Helper()
		c.want(status, "POST", "", nil, "Upload-Concat", "final;"+strings.Join(ids, " "), "Content-Type", "", "Upload-Metadata", "filename Yg==")
		c.wantNone("b")
	}
	unfinished, whole := c.create(5, []byte("x"), "Upload-Concat", "partial"), c.create(5, nil)
	part := c.create(large+large/2, content(7, large+large/2), "Upload-Concat", "partial")
	join(http.StatusConflict, unfinished)
	join(http.StatusBadRequest, part, whole)
	join(http.StatusNotFound, part, strings.Repeat("A", 26))
	join(http.StatusRequestEntityTooLarge, part, part)
	c.want(http.StatusNoContent, "DELETE", part, nil)
	join(http.StatusGone, part)
}

// termination removes uploads.
func termination(t *testing.T, place Place, large int) {
	a, b := open(t, place, uploads.Options{}, tus.Options{}), open(t, place, uploads.Options{}, tus.Options{})
	for _, size := range []int{1, large + 1} {
		id := a.create(size+1, content(8, size))
		b.want(http.StatusNoContent, "DELETE", id, nil)
		a.want(http.StatusGone, "HEAD", id, nil)
		a.want(http.StatusGone, "GET", id, nil)
		b.want(http.StatusGone, "PATCH", id, []byte("x"), "Upload-Offset", strconv.Itoa(size))
		b.wantNone("a")
	}
	a.want(http.StatusNotFound, "HEAD", strings.Repeat("A", 26), nil)
	a.want(http.StatusNotFound, "PATCH", "../../x", nil, "Upload-Offset", "0")
}

// expiry waits until an upload has expired, and until it is forgotten.
func expiry(t *testing.T, place Place, large int) {
	o := tus.Options{Expiry: 2 * time.Second, Retention: time.Millisecond}
	a, b := open(t, place, uploads.Options{}, o), open(t, place, uploads.Options{}, tus.Options{})
	expired, kept := a.create(large+2, content(9, large+1)), b.create(large+2, content(9, large+1))
	testutil.Eventually(t, "the upload has expired", func() bool {
		resp, err := b.do("GET", expired, nil)
		return err == nil && resp.Status == http.StatusGone
	})
	b.want(http.StatusGone, "PATCH", expired, []byte("x"), "Upload-Offset", strconv.Itoa(large+1))
	a.run()
	testutil.Eventually(t, "the upload is forgotten", func() bool {
		resp, err := b.do("GET", expired, nil)
		return err == nil && resp.Status == http.StatusNotFound
	})
	b.patch(kept, large+1, []byte("x"))
}

// nameTaken completes an upload whose name is in use by now.
func nameTaken(t *testing.T, place Place, large int) {
	a, b := open(t, place, uploads.Options{}, tus.Options{}), open(t, place, uploads.Options{}, tus.Options{})
	text := content(10, large+1)
	first, small, big := a.create(2, nil), a.create(2, []byte("x")), a.create(len(text), text[:large])
	b.patch(first, 0, []byte("ok"))
	for id, rest := range map[string][]byte{small: []byte("y"), big: text[large:]} {
		resp := b.want(http.StatusConflict, "PATCH", id, rest, "Upload-Offset", strconv.Itoa(map[string]int{small: 1, big: large}[id]))
		if body, ok := resp.Body.(uploads.Response); !ok || body.Code != uploads.CodeExists {
			t.Errorf("%+v", resp.Body)
		}
		a.want(http.StatusGone, "HEAD", id, nil)
	}
	a.want(http.StatusConflict, "POST", "", nil, "Upload-Length", "1")
	a.wantStored(first, "a", []byte("ok"))
}

// stored checks the call for a stored file.
func stored(t *testing.T, place Place, large int) {
	var mu sync.Mutex
	var calls []string
	files := uploads.Options{Stored: func(_ context.Context, id string, f uploads.File) error {
		mu.Lock()
		defer mu.Unlock()
		calls = append(calls, id+" "+f.SHA256)
		return nil
	}}
	c := open(t, place, files, tus.Options{})
	text := content(11, large+1)
	id := c.create(len(text), text[:1])
	c.patch(id, 1, text[1:])
	if len(calls) != 1 || calls[0] != id+" "+sum(text) {
		t.Errorf("calls %q", calls)
	}
}

// metadata checks that HEAD returns what the client has sent, and bad requests.
func metadata(t *testing.T, place Place, _ int) {
	c := open(t, place, uploads.Options{}, tus.Options{})
	const field = "filename YQ==,note w7w=,empty"
	id := c.create(5, nil, "Upload-Metadata", field)
	if resp := c.want(http.StatusOK, "HEAD", id, nil); get(resp, "Upload-Metadata") != field || get(resp, "Upload-Length") != "5" || get(resp, "Upload-Expires") == "" {
		t.Errorf("%v", resp.Header)
	}
	c.want(http.StatusUnsupportedMediaType, "PATCH", id, nil, "Upload-Offset", "0", "Content-Type", "text/plain")
	c.want(http.StatusBadRequest, "PATCH", id, nil)
	for _, name := range []string{"Li4vYQ==", "LnJlc3VtYWJsZQ=="} { // ../a, .resumable
		c.want(http.StatusBadRequest, "POST", "", nil, "Upload-Length", "1", "Upload-Metadata", "filename "+name)
		c.want(http.StatusBadRequest, "POST", "", nil, "Upload-Length", "1", "Upload-Metadata", "filename YQ==,directory "+name)
	}
	c.wantOffset(id, 0)
}
