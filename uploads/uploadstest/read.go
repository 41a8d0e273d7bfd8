package uploadstest

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"testing"

	"github.com/galeserver/gale/uploads"
)

// seek reads parts of a file.
func seek(t *testing.T, place Place, large int) {
	s := place.Open(t, uploads.Options{})
	text := content(1, large+5000)
	size := int64(len(text))
	mustPut(t, s, "d", "a", text)
	f, err := s.Open("d", "a")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // read only
	for _, row := range []struct {
		offset int64
		whence int
		at     int64 // position after Seek
		n      int64 // bytes to read
	}{
		{0, io.SeekStart, 0, 10}, {0, io.SeekCurrent, 10, 20}, {-5, io.SeekCurrent, 25, 5}, {-100, io.SeekEnd, size - 100, 100}, {0, io.SeekCurrent, size, 0},
		{1, io.SeekStart, 1, size - 1}, {int64(large) - 3, io.SeekStart, int64(large) - 3, 6}, {0, io.SeekStart, 0, size}, {10, io.SeekEnd, size + 10, 0},
	} {
		at, err := f.Seek(row.offset, row.whence)
		if err != nil || at != row.at {
			t.Fatalf("seek %+v: %d, %v", row, at, err)
		}
		got := make([]byte, row.n)
		if _, err := io.ReadFull(f, got); err != nil || !bytes.Equal(got, text[min(at, size):min(at, size)+row.n]) {
			t.Errorf("read after %+v: other bytes, or %v", row, err)
		}
		if at+row.n >= size {
			if n, err := f.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
				t.Errorf("read at the end: %d, %v", n, err)
			}
		}
	}
	if _, err := f.Seek(-1, io.SeekStart); err == nil {
		t.Error("seek before the start is no error")
	}
}

// remove removes files. The name can be used again, and empty folders do not stay.
func remove(t *testing.T, place Place, large int) {
	s := place.Open(t, uploads.Options{})
	if err := s.Remove(t.Context(), "a/b", "none"); err != nil {
		t.Errorf("remove of nothing: %v", err)
	}
	mustPut(t, s, "a/b", "one", content(1, 10))
	mustPut(t, s, "a", "two", content(2, large+10))
	if err := s.Remove(t.Context(), "a", "b"); err != nil {
		t.Errorf("remove of a folder: %v", err)
	}
	want(t, s, "a/b", "one", content(1, 10))
	if err := s.Remove(t.Context(), "a/b", "one"); err != nil {
		t.Errorf("remove: %v", err)
	}
	wantNone(t, s, "a/b", "one")
	if entries, _, err := s.List(t.Context(), "a/b", "", 10); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("list of a removed folder: %v, %v", entries, err)
	}
	want(t, s, "a", "two", content(2, large+10))
	mustPut(t, s, "a/b", "one", content(3, 20))
	want(t, s, "a/b", "one", content(3, 20))
	for _, name := range []string{"one", "two"} {
		if err := s.Remove(t.Context(), "a/b", name); err != nil {
			t.Errorf("remove: %v", err)
		}
	}
	if err := s.Remove(t.Context(), "a", "two"); err != nil {
		t.Errorf("remove: %v", err)
	}
	if entries, _, err := s.List(t.Context(), "", "", 10); err != nil || len(entries) != 0 {
		t.Errorf("left: %v, %v", entries, err)
	}
}
