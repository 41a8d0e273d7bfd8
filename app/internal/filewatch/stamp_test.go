package filewatch

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestStamp(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "sub/a.html"), "first")
	file := filepath.Join(t.TempDir(), ".conf")
	write(t, file, "")
	last := Stamp(dir, file)
	for _, step := range []struct {
		name    string
		do      func() error
		changes bool
	}{
		{"nothing", func() error { return nil }, false},
		{"backup", func() error { return os.WriteFile(filepath.Join(dir, "a~"), nil, 0o600) }, false},
		{"hidden folder", func() error { return os.MkdirAll(filepath.Join(dir, ".git"), 0o700) }, false},
		{"single file", func() error { return os.WriteFile(file, []byte("x"), 0o600) }, true},
		{"single file removed", func() error { return os.Remove(file) }, true},
		{"new file", func() error { return os.WriteFile(filepath.Join(dir, "b"), nil, 0o600) }, true},
		{"size", func() error { return os.WriteFile(filepath.Join(dir, "b"), []byte("x"), 0o600) }, true},
		{"time", func() error { return os.Chtimes(filepath.Join(dir, "b"), time.Unix(1, 0), time.Unix(1, 0)) }, true},
		{"name", func() error { return os.Rename(filepath.Join(dir, "b"), filepath.Join(dir, "c")) }, true},
		{"removed", func() error { return os.RemoveAll(filepath.Join(dir, "sub")) }, true},
	} {
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		now := Stamp(dir, file)
		if (now != last) != step.changes {
			t.Errorf("%s: changed: %v", step.name, now != last)
		}
		last = now
	}
}
