package tustest

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/galeserver/gale/uploads"
	"github.com/galeserver/gale/uploads/tus"
)

// alternating sends each request to another process.
func alternating(t *testing.T, place Place, large int) {
	a, b := open(t, place, uploads.Options{}, tus.Options{}), open(t, place, uploads.Options{}, tus.Options{})
	for name, steps := range map[string][]int{
		"YQ==": {10, 0, 20}, "Yg==": {0, 3, large + 1, large / 2, large / 2, 2*large + 5, 1}, "Yw==": {0},
	} {
		size := 0
		for _, n := range steps {
			size += n
		}
		text := content(name[0]+name[1], size)
		id := a.create(size, text[:steps[0]], "Upload-Metadata", "filename "+name)
		at := steps[0]
		for i, n := range steps[1:] {
			from := []client{b, a}[i%2]
			from.wantOffset(id, at)
			from.patch(id, at, text[at:at+n])
			at += n
		}
		filename, err := base64.StdEncoding.DecodeString(name)
		if err != nil {
			t.Fatal(err)
		}
		a.wantStored(id, string(filename), text)
		b.wantStored(id, string(filename), text)
	}
}

// cut sends bodies that break off: the bytes before that are kept.
func cut(t *testing.T, place Place, large int) {
	a, b := open(t, place, uploads.Options{}, tus.Options{}), open(t, place, uploads.Options{}, tus.Options{})
	text := content(1, 2*large)
	id := a.create(len(text), nil)
	at := 0
	for i, n := range []int{5, large, large / 2} {
		from := []client{a, b}[i%2]
		body := io.MultiReader(bytes.NewReader(text[at:at+n]), iotest.ErrReader(errBroken))
		if resp, err := from.do("PATCH", id, body, "Upload-Offset", strconv.Itoa(at)); !errors.Is(err, errBroken) {
			t.Errorf("%+v, %v", resp, err)
		}
		at += n
		b.wantOffset(id, at)
	}
	b.want(http.StatusConflict, "PATCH", id, text[at:], "Upload-Offset", "0")
	b.want(http.StatusRequestEntityTooLarge, "PATCH", id, append(text[at:], 1), "Upload-Offset", strconv.Itoa(at))
	a.wantOffset(id, at)
	a.wantNone("a")
	a.patch(id, at, text[at:])
	b.wantStored(id, "a", text)
}

// takeover stalls a request. A request in another process gets all its bytes.
func takeover(t *testing.T, place Place, large int) {
	o := tus.Options{TakeoverTimeout: tus.DefaultExpiry} // must not be reached
	a, b := open(t, place, uploads.Options{}, o), open(t, place, uploads.Options{}, o)
	text := content(2, large+10)
	id := a.create(len(text), nil)
	reader, writer := io.Pipe()
	r := request("PATCH", id, reader, "Upload-Offset", "0")
	r.Interrupt = func() { _ = writer.CloseWithError(io.ErrUnexpectedEOF) }
	var ended sync.WaitGroup
	ended.Go(func() { // ends when it is interrupted
		if resp, err := a.server.Serve(t.Context(), r); err != nil || resp.Status != http.StatusLocked {
			t.Errorf("stalled request: %+v, %v", resp, err)
		}
		_ = reader.Close()
	})
	if _, err := writer.Write(text[:large+1]); err != nil {
		t.Fatal(err)
	}
	b.wantOffset(id, large+1)
	ended.Wait()
	b.patch(id, large+1, text[large+1:])
	a.wantStored(id, "a", text)
}

// checksum sends bodies with checksums: of one with a wrong checksum, nothing is kept.
func checksum(t *testing.T, place Place, large int) {
	c := open(t, place, uploads.Options{}, tus.Options{})
	text := content(3, 3*large/2*2)
	field := func(part []byte) string {
		h := sha256.Sum256(part)
		return "sha256 " + base64.StdEncoding.EncodeToString(h[:])
	}
	id := c.create(len(text), nil)
	for at := 0; at < len(text); at += large + large/2 {
		part, offset := text[at:at+large+large/2], strconv.Itoa(at)
		c.want(460, "PATCH", id, part, "Upload-Offset", offset, "Upload-Checksum", field(text[:at]))
		c.wantOffset(id, at)
		c.want(http.StatusNoContent, "PATCH", id, part, "Upload-Offset", offset, "Upload-Checksum", field(part))
	}
	c.wantStored(id, "a", text)
}

// race sends the same bytes in several requests at once. Each either succeeds or is refused,
// and the file has them once.
func race(t *testing.T, place Place, large int) {
	text := content(4, large+5)
	servers := []client{open(t, place, uploads.Options{}, tus.Options{}), open(t, place, uploads.Options{}, tus.Options{})}
	id := servers[0].create(len(text), nil)
	var all sync.WaitGroup
	for i := range 6 {
		all.Go(func() {
			resp, err := servers[i%2].do("PATCH", id, bytes.NewReader(text), "Upload-Offset", "0")
			switch {
			case err != nil:
				t.Error(err)
			case resp.Status != http.StatusNoContent && resp.Status != http.StatusConflict && resp.Status != http.StatusLocked:
				t.Errorf("%+v", resp)
			}
		})
	}
	all.Wait()
	for range 3 { // a request may have been interrupted by the others
		resp := servers[1].want(http.StatusOK, "HEAD", id, nil)
		if resp.File != nil {
			break
		}
		at, err := strconv.Atoi(get(resp, "Upload-Offset"))
		if err != nil {
			t.Fatal(err)
		}
		servers[1].patch(id, at, text[at:])
	}
	servers[0].wantStored(id, "a", text)
}
