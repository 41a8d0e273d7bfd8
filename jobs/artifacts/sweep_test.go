package artifacts_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/artifacts"
	"github.com/galeserver/gale/jobs/sqlite"
)

// away is an unavailable store.
type away struct{ jobs.Reader }

func (away) Get(context.Context, string) (*jobs.Task, error) { return nil, jobs.ErrUnavailable }

// Only old folders of removed tasks are deleted. Nothing is deleted while the store is
// unavailable, and other entries are kept.
func TestSweepArtifacts(t *testing.T) {
	store, err := sqlite.Open(filepath.Join(t.TempDir(), "jobs.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	dir := t.TempDir()
	files, err := artifacts.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer files.Close()
	if _, _, err := store.Enqueue(t.Context(), jobs.NewTask{ID: "known", Name: "double"}); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-2 * time.Hour)
	for _, name := range []string{"known", "gone", "gone.too", "fresh", "not a task"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name, "a.txt"), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		if name != "fresh" {
			if err := os.Chtimes(filepath.Join(dir, name), old, old); err != nil {
				t.Fatal(err)
			}
		}
	}
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.Mkdir(outside, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	names := func() (all []string) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			all = append(all, e.Name())
		}
		return all
	}
	before := names()
	s := &artifacts.Sweeper{Artifacts: files, Store: away{}, Keep: time.Hour}
	if n, err := s.Sweep(t.Context()); n != 0 || !errors.Is(err, jobs.ErrUnavailable) || !slices.Equal(names(), before) {
		t.Errorf("while the store is unavailable: %d, %v, %v", n, err, names())
	}
	s.Store = store
	s.Keep = 0 // seven days
	if n, err := s.Sweep(t.Context()); n != 0 || err != nil {
		t.Errorf("folder that is not old enough: %d, %v", n, err)
	}
	s.Keep = time.Hour
	want := []string{"file", "fresh", "known", "link", "not a task"}
	if n, err := s.Sweep(t.Context()); n != 2 || err != nil || !slices.Equal(names(), want) {
		t.Errorf("removed %d, %v; left %v", n, err, names())
	}
	if _, err := os.Stat(outside); err != nil {
		t.Error(err)
	}
}
