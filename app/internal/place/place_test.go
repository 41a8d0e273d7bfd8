package place

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// All that use a folder have the same place, also if they make the marker at the same time.
func TestFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "uploads")
	places := make([]Place, 32)
	var all sync.WaitGroup
	for i := range places {
		all.Go(func() { // ends with the call
			var err error
			if places[i], err = Folder(dir); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for _, p := range places {
		if p != places[0] || p.ID == "" || !strings.Contains(p.Text, dir) {
			t.Errorf("%+v, %+v", p, places[0])
		}
	}
	if names, err := os.ReadDir(dir); err != nil || len(names) != 1 || names[0].Name() != marker {
		t.Errorf("in the folder: %v, %v", names, err)
	}
	other, err := Folder(t.TempDir())
	if err != nil || other.ID == places[0].ID {
		t.Errorf("another folder: %+v, %v", other, err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	if p, err := Folder(link); err != nil || p.ID != places[0].ID {
		t.Errorf("by another path: %+v, %v", p, err)
	}
}

// A marker that is no id is an error that names the file.
func TestFolderRefused(t *testing.T) {
	for _, text := range []string{"", "\n", strings.Repeat("x", maxMarker+1)} {
		dir := t.TempDir()
		name := filepath.Join(dir, marker)
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Folder(dir); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%q: %v", text, err)
		}
		if got, err := os.ReadFile(name); err != nil || string(got) != text {
			t.Errorf("%q is now %q, %v", text, got, err)
		}
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Folder(file); err == nil {
		t.Error("a file is no folder")
	}
}

func TestBucket(t *testing.T) {
	if p := Bucket("b", "some/prefix"); p.ID != "s3://b/some/prefix" || p.Text != p.ID {
		t.Errorf("%+v", p)
	}
	if Bucket("b", "") == Bucket("b", "p") || Bucket("b", "") == Bucket("c", "") {
		t.Error("different buckets and prefixes are the same place")
	}
}
