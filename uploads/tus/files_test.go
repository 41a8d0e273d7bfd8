package tus

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/galeserver/gale/uploads"
)

// A complete upload is published in Options.Files, with its id.
func TestFiles(t *testing.T) {
	dir := t.TempDir()
	var ids []string
	files, err := uploads.Open(dir, uploads.Options{Stored: func(_ context.Context, id string, f uploads.File) error {
		ids = append(ids, id+" "+f.Filename)
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	f := newFixture(t, filepath.Join(t.TempDir(), "unfinished"), Options{Files: files})
	defer func() {
		if err := files.Close(); err != nil {
			t.Error(err)
		}
	}()
	id := f.create("5", "hel")
	if _, err := os.Stat(filepath.Join(dir, "tus")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("published before it is complete: %v", err)
	}
	resp := f.want(204, "PATCH", id, "lo", "Upload-Offset", "3")
	if resp.File == nil || resp.File.ID != id || resp.File.Size != 5 || len(ids) != 1 || ids[0] != id+" a" {
		t.Errorf("%+v, calls %q", resp.File, ids)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "tus", "a")); err != nil || string(got) != "hello" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := os.Stat(f.dataPath(id)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the data is left: %v", err)
	}
	f.want(409, "POST", "", "", "Upload-Length", "5") // the name is in use
}
