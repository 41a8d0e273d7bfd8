// Package uploadstest checks that a backend keeps the promises of package uploads: a
// file is whole under its name or not there, it is never overwritten, and no name leads
// out of the place of the files.
package uploadstest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"testing"

	"github.com/galeserver/gale/uploads"
)

// Place is a place for files that is empty at first. Each Open opens a store on the same
// files, as another process does. Stores are closed at the end of the test.
type Place interface {
	Open(t testing.TB, o uploads.Options) *uploads.Store
}

// Run checks a backend. newPlace returns a new place for each test. large is the size, in
// bytes, from which the backend stores files in another way, such as in several parts.
func Run(t *testing.T, large int, newPlace func(t testing.TB) Place) {
	for name, test := range map[string]func(*testing.T, Place, int){
		"create": create, "discard": discard, "exists": exists, "race": race, "numbered": numbered, "put": putWithID,
		"seek": seek, "remove": remove, "list": list, "pages": pages, "names": names, "hostile": hostile, "form": form,
		"stored": stored, "stored later": storedLater, "stored never": storedNever,
		"quarantine": quarantine, "quarantine later": quarantineLater,
	} {
		t.Run(name, func(t *testing.T) { test(t, newPlace(t), large) })
	}
}

// content returns bytes that differ for each seed.
func content(seed uint64, size int) []byte {
	var key [32]byte
	key[0], key[1] = byte(seed), byte(seed>>8)
	text := make([]byte, size)
	_, _ = rand.NewChaCha8(key).Read(text) // never fails
	return text
}

func sum(text []byte) string {
	h := sha256.Sum256(text)
	return hex.EncodeToString(h[:])
}

// put stores a file and returns the result for the client.
func put(t testing.TB, s *uploads.Store, directory, filename string, text []byte) (uploads.File, error) {
	t.Helper()
	u, err := s.Create(t.Context(), directory, filename)
	if err != nil {
		return uploads.NewFile(directory, filename, err), err
	}
	defer u.Discard()
	if _, err := u.ReadFrom(t.Context(), bytes.NewReader(text)); err != nil {
		return uploads.NewFile(directory, filename, err), err
	}
	return u.Publish(t.Context(), directory, filename)
}

func mustPut(t testing.TB, s *uploads.Store, directory, filename string, text []byte) uploads.File {
	t.Helper()
	f, err := put(t, s, directory, filename, text)
	if err != nil || f.Size != int64(len(text)) || f.SHA256 != sum(text) || f.Code != uploads.CodeStored {
		t.Fatalf("put %s/%s: %+v, %v", directory, filename, f, err)
	}
	return f
}

// want checks the content of a stored file.
func want(t testing.TB, s *uploads.Store, directory, filename string, text []byte) {
	t.Helper()
	f, err := s.Open(directory, filename)
	if err != nil {
		t.Errorf("open %s/%s: %v", directory, filename, err)
		return
	}
	defer func() {
		if err := f.Close(); err != nil {
			t.Errorf("close %s/%s: %v", directory, filename, err)
		}
	}()
	got, err := io.ReadAll(f)
	if err != nil || !bytes.Equal(got, text) {
		t.Errorf("%s/%s: %d bytes of %d or other content: %v", directory, filename, len(got), len(text), err)
	}
	info := f.Info()
	if info.Size != int64(len(text)) || info.Modified.IsZero() || info.SHA256 != "" && info.SHA256 != sum(text) {
		t.Errorf("%s/%s: %+v", directory, filename, info)
	}
}

// wantNone checks that there is no file of that name.
func wantNone(t testing.TB, s *uploads.Store, directory, filename string) {
	t.Helper()
	if f, err := s.Open(directory, filename); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("open %s/%s: %v, %v", directory, filename, f, err)
	}
}
