package uploads

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestRemoveEmptyFolders(t *testing.T) {
	var log bytes.Buffer
	s := openStore(t, t.TempDir(), Options{Logger: textLogger(&log)})
	mustPut(t, s, "a/b/c", "1", "x")
	mustPut(t, s, "a/b", "2", "x")
	remove := func(directory, filename string) {
		t.Helper()
		if err := s.Remove(t.Context(), directory, filename); err != nil {
			t.Errorf("Remove(%s/%s): %v", directory, filename, err)
		}
	}
	remove("a/b/c", "none")
	remove("a/b", "c")
	if left := tree(t, s.disk.root.Name()); left["a/b/c/1"] != "x" {
		t.Fatalf("left %v", left)
	}
	remove("a/b/c", "1")
	if left := tree(t, s.disk.root.Name()); left["a/b/c"] != "" || left["a/b/2"] != "x" {
		t.Errorf("after the first: %v", left)
	}
	remove("a/b", "2")
	remove("a/b", "2")
	if left := tree(t, s.disk.root.Name()); len(left) != 2 || left["."] == "" { // the root and incoming
		t.Errorf("after the last: %v", left)
	}
	if out := log.String(); strings.Count(out, "file removed") != 2 {
		t.Errorf("log:\n%s", out)
	}
}

// Remove removes empty folders while other uploads publish in them. No upload may fail
// or get lost.
func TestRemoveRacesWithPublish(t *testing.T) {
	eachKind(t, Options{}, func(t *testing.T, s *Store) {
		var done sync.WaitGroup
		for _, name := range []string{"1", "2", "3", "4"} {
			done.Go(func() {
				for range 100 {
					if _, err := put(t, s, "come/and/go", name, name); err != nil {
						t.Errorf("put %s: %v", name, err)
					}
					content, err := os.ReadFile(filepath.Join(s.disk.root.Name(), "come/and/go", name))
					if err != nil || string(content) != name {
						t.Errorf("%s is not there: %v", name, err)
					}
					if err := s.Remove(t.Context(), "come/and/go", name); err != nil {
						t.Errorf("remove %s: %v", name, err)
					}
				}
			})
		}
		done.Wait()
		if left := tree(t, s.disk.root.Name()); len(left) != 2 {
			t.Errorf("left %v", left)
		}
	})
}

func TestPublishNumbered(t *testing.T) {
	eachKind(t, Options{}, func(t *testing.T, s *Store) {
		var done sync.WaitGroup
		for range 8 {
			done.Go(func() {
				u, err := s.Create(t.Context(), "", "")
				if err != nil {
					t.Error(err)
					return
				}
				defer u.Discard()
				if f, err := u.PublishNumbered(t.Context(), "d", "uploaded.file.bin"); err != nil || f.Code != CodeStored {
					t.Errorf("%+v, %v", f, err)
				}
			})
		}
		done.Wait()
		left := tree(t, filepath.Join(s.disk.root.Name(), "d"))
		for _, name := range []string{"uploaded.file.bin", "uploaded.file-1.bin", "uploaded.file-7.bin"} {
			if _, ok := left[name]; !ok || len(left) != 9 {
				t.Errorf("no %s in %v", name, left)
			}
		}
		u, err := s.Create(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		defer u.Discard()
		if f, err := u.PublishNumbered(t.Context(), "..", "a"); !errors.Is(err, ErrName) || f.Code != CodeInvalid {
			t.Errorf("%+v, %v", f, err)
		}
	})
}
