package uploads

import (
	"maps"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestCounters(t *testing.T) {
	eachKind(t, Options{MaxFile: 10}, func(t *testing.T, s *Store) {
		var c Counters
		s.options.Meter = &c
		mustPut(t, s, "d", "a", "content")
		_, _ = put(t, s, "d", "a", "again") // the name is in use
		_, _ = put(t, s, "d", "b", "more than ten bytes")
		u, err := s.Create(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Stats(); got.Open != 1 {
			t.Errorf("open %d", got.Open)
		}
		u.Discard() // as after a disconnect of the client
		u.Discard()
		body := formBody(filePart("d", "a", "1"), filePart("d", "c", "22"), filePart("d", "big", strings.Repeat("x", 11)), filePart("..", "x", "y"))
		if resp, err := s.Multipart(t.Context(), strings.NewReader(body), testBoundary); err != nil || !codes(resp, 501, 200, 413, 400) {
			t.Fatalf("%+v, %v", resp, err)
		}
		s.disk.sys.fsync = failing(unix.ENOSPC)
		_, _ = put(t, s, "d", "e", "333")
		got := c.Stats()
		want := map[int]int64{CodeStored: 2, CodeExists: 1, CodeTooLarge: 2, CodeInvalid: 1, CodeNoSpace: 1}
		if got.Open != 0 || got.Bytes != 7+5+2+3 || !maps.Equal(got.Files, want) || got.Duration <= 0 {
			t.Errorf("got %+v; want %v", got, want)
		}
	})
}

// The files that Open creates as a test are not counted as uploads.
func TestOpenIsNotMetered(t *testing.T) {
	var c Counters
	openStore(t, t.TempDir(), Options{Meter: &c})
	if got := c.Stats(); got.Open != 0 || len(got.Files) != 0 {
		t.Errorf("got %+v", got)
	}
}

func failing(with error) func(*os.File) error { return func(*os.File) error { return with } }
