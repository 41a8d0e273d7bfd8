// Package tustest checks that a tus.Place keeps the promises of package tus: bytes that a
// client was told of are never lost, an upload continues in any process, and a file is whole
// under its name or not there.
package tustest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/galeserver/gale/uploads"
	"github.com/galeserver/gale/uploads/tus"
)

// Place is a place for uploads that is empty at first. Each Open opens a server and the store of
// its files, as another process does. They are closed at the end of the test.
type Place interface {
	Open(t testing.TB, files uploads.Options, o tus.Options) (*tus.Server, *uploads.Store)
}

// Run checks a place. newPlace returns a new one for each test. large is the size, in bytes,
// from which bytes are kept in another way, such as in several parts.
func Run(t *testing.T, large int, newPlace func(t testing.TB) Place) {
	for name, test := range map[string]func(*testing.T, Place, int){
		"alternating": alternating, "cut": cut, "takeover": takeover, "checksum": checksum, "deferred": deferred, "limits": limits,
		"concatenation": concatenation, "concatenation refused": concatenationRefused, "termination": termination, "expiry": expiry,
		"name taken": nameTaken, "stored": stored, "metadata": metadata, "race": race,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // some wait
			test(t, newPlace(t), large)
		})
	}
}

// client sends requests to a server.
type client struct {
	t      testing.TB
	server *tus.Server
	store  *uploads.Store
}

func open(t testing.TB, p Place, files uploads.Options, o tus.Options) client {
	t.Helper()
	s, store := p.Open(t, files, o)
	return client{t, s, store}
}

const offsetStream = "application/offset+octet-stream"

// request returns a request with a body of unknown length. header is a list of names and values.
func request(method, id string, body io.Reader, header ...string) *tus.Request {
	return &tus.Request{Method: method, ID: id, Length: -1, Body: body, Header: func(name string) string {
		for i := 0; i < len(header); i += 2 {
			if header[i] == name {
				return header[i+1]
			}
		}
		return map[string]string{"Tus-Resumable": tus.Version, "Content-Type": offsetStream, "Upload-Metadata": "filename YQ=="}[name]
	}}
}

func (c client) do(method, id string, body io.Reader, header ...string) (tus.Response, error) {
	return c.server.Serve(c.t.Context(), request(method, id, body, header...))
}

// want sends a request and fails the test if the response has another status.
func (c client) want(status int, method, id string, body []byte, header ...string) tus.Response {
	c.t.Helper()
	resp, err := c.do(method, id, bytes.NewReader(body), header...)
	if err != nil || resp.Status != status {
		c.t.Fatalf("%s %s: %d %v, %v; want %d", method, id, resp.Status, resp.Body, err, status)
	}
	return resp
}

func get(resp tus.Response, name string) string {
	for _, field := range resp.Header {
		if field[0] == name {
			return field[1]
		}
	}
	return ""
}

// create creates an upload with body as its first bytes.
func (c client) create(length int, body []byte, header ...string) (id string) {
	c.t.Helper()
	resp := c.want(http.StatusCreated, "POST", "", body, append(header, "Upload-Length", strconv.Itoa(length))...)
	return strings.TrimPrefix(get(resp, "Location"), tus.DefaultBase)
}

// patch appends body at an offset.
func (c client) patch(id string, offset int, body []byte) {
	c.t.Helper()
	c.want(http.StatusNoContent, "PATCH", id, body, "Upload-Offset", strconv.Itoa(offset))
}

// wantOffset checks the offset of an upload.
func (c client) wantOffset(id string, offset int) {
	c.t.Helper()
	if got := get(c.want(http.StatusOK, "HEAD", id, nil), "Upload-Offset"); got != strconv.Itoa(offset) {
		c.t.Errorf("offset %s, want %d", got, offset)
	}
}

// wantStored checks the content of a file, and what the server says of the upload.
func (c client) wantStored(id, filename string, text []byte) {
	c.t.Helper()
	f, err := c.store.Open("tus", filename)
	if err != nil {
		c.t.Errorf("open %s: %v", filename, err)
		return
	}
	defer f.Close() //nolint:errcheck // read only
	got, err := io.ReadAll(f)
	if err != nil || !bytes.Equal(got, text) {
		c.t.Errorf("%s: %d bytes of %d or other content: %v", filename, len(got), len(text), err)
	}
	resp := c.want(http.StatusOK, "HEAD", id, nil)
	if resp.File == nil || resp.File.ID != id || resp.File.SHA256 != sum(text) || resp.File.Size != int64(len(text)) {
		c.t.Errorf("%s: %+v", filename, resp.File)
	}
}

func (c client) wantNone(filename string) {
	c.t.Helper()
	if err := c.store.Check(c.t.Context(), "tus", filename); err != nil {
		c.t.Errorf("%s: %v", filename, err)
	}
}

// run runs the server until the end of the test.
func (c client) run() {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.server.Run(ctx) }() // ends with ctx
	c.t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			c.t.Errorf("run: %v", err)
		}
	})
}

// content returns bytes that differ for each seed.
func content(seed byte, size int) []byte {
	text := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(text) // never fails
	return text
}

func sum(text []byte) string {
	h := sha256.Sum256(text)
	return hex.EncodeToString(h[:])
}

var errBroken = errors.New("connection reset")
