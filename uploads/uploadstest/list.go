package uploadstest

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"testing"

	"github.com/galeserver/gale/uploads"
)

// list lists directories with files and folders.
func list(t *testing.T, place Place, _ int) {
	s := place.Open(t, uploads.Options{})
	for _, n := range [][2]string{{"top", "b.txt"}, {"top", "a.txt"}, {"top/sub/deep", "c"}, {"top/sub", "d"}, {"topper", "e"}} {
		mustPut(t, s, n[0], n[1], []byte(n[1]))
	}
	for directory, names := range map[string][]string{
		"": {"top/", "topper/"}, "top": {"a.txt", "b.txt", "sub/"}, "top/sub": {"d", "deep/"}, "top/sub/deep": {"c"}, "topper": {"e"},
	} {
		entries, next, err := s.List(t.Context(), directory, "", 100)
		if err != nil || next != "" || !slices.Equal(described(entries), names) {
			t.Errorf("%q: %v, %q, %v; want %v", directory, described(entries), next, err, names)
		}
		for _, e := range entries {
			if !e.Folder && (e.Size != int64(len(e.Name)) || e.Modified.IsZero()) {
				t.Errorf("%+v", e)
			}
		}
	}
	for _, directory := range []string{"none", "to", "top/a.txt", "top/sub/deep/none"} {
		if entries, _, err := s.List(t.Context(), directory, "", 100); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%q: %v, %v", directory, entries, err)
		}
	}
}

// described returns the names of entries, with a slash after that of a folder.
func described(entries []uploads.Entry) (names []string) {
	for _, e := range entries {
		if e.Folder {
			e.Name += "/"
		}
		names = append(names, e.Name)
	}
	return names
}

// pages lists a directory page by page. The order is that of the bytes, also where one name
// is the beginning of another; the name of a folder counts with a slash at its end.
func pages(t *testing.T, place Place, _ int) {
	s := place.Open(t, uploads.Options{})
	var all []string
	for i := range 7 {
		for _, name := range []string{fmt.Sprintf("f%d", i), fmt.Sprintf("f%d-x", i), fmt.Sprintf("f%d.ü", i)} {
			mustPut(t, s, "d", name, nil)
			all = append(all, name)
		}
		for _, folder := range []string{fmt.Sprintf("f%d 0", i), fmt.Sprintf("f%d.", i)} {
			mustPut(t, s, "d/"+folder, "deep", nil)
			mustPut(t, s, "d/"+folder, "deeper", nil)
			all = append(all, folder+"/")
		}
	}
	slices.Sort(all)
	for _, limit := range []int{1, 2, 3, 5, len(all) - 1, len(all), 1000} {
		var got []string
		after := ""
		for range len(all) + 1 {
			entries, next, err := s.List(t.Context(), "d", after, limit)
			if err != nil || len(entries) > limit {
				t.Fatalf("page after %q: %d entries, %v", after, len(entries), err)
			}
			got = append(got, described(entries)...)
			if after = next; after == "" {
				break
			}
		}
		if !slices.Equal(got, all) {
			t.Errorf("pages of %d: %v\nwant %v", limit, got, all)
		}
	}
	for after, first := range map[string]string{"f3": "f3 0/", "f3z": "f4", "a": "f0", "f6.": "f6./"} {
		if entries, _, err := s.List(t.Context(), "d", after, 1); err != nil || len(entries) != 1 || described(entries)[0] != first {
			t.Errorf("after %q: %v, %v; want %s", after, entries, err, first)
		}
	}
	if entries, next, err := s.List(t.Context(), "d", "zzz", 10); err != nil || len(entries) != 0 || next != "" {
		t.Errorf("after the last one: %v, %q, %v", entries, next, err)
	}
}
