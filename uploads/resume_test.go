package uploads

import (
	"crypto/sha256"
	"encoding"
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// keep makes a file in a private folder, as somebody keeps it who goes on later.
func createFile(t *testing.T, s *Store, content string) *os.File {
	t.Helper()
	root, err := s.PrivateFolder(".kept")
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	f, err := root.OpenFile("file", os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o640)
	if err == nil {
		_, err = f.WriteString(content)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// A file goes on from a mark: what is past it does not count, the sum is of the
// whole, and the caller keeps what is his.
func TestResume(t *testing.T) {
	counters := new(Counters)
	s := openStore(t, filepath.Join(t.TempDir(), "up"), Options{MaxFile: 20, Meter: counters})
	f := createFile(t, s, "")
	u, err := s.Resume(t.Context(), f, ".kept/file", Checkpoint{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := u.Write(t.Context(), []byte("hello ")); err != nil {
		t.Fatal(err)
	}
	mark, err := u.Checkpoint()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := u.Write(t.Context(), []byte("nobody knows")); err != nil {
		t.Fatal(err)
	}
	u.Pause()
	u.Discard()
	for _, m := range []Checkpoint{mark, {Size: mark.Size}, {Size: mark.Size, HashState: []byte("of another version")}} {
		if u, err = s.Resume(t.Context(), f, ".kept/file", m); err != nil {
			t.Fatal(err)
		}
		if _, err := u.Write(t.Context(), []byte("world")); err != nil {
			t.Fatal(err)
		}
		if file, err := u.Publish(t.Context(), "d", "a"); err != nil || file.Size != 11 || file.SHA256 != sum("hello world") {
			t.Errorf("%+v, %v", file, err)
		}
		u.Discard()
	}
	for _, name := range []string{"d/a", ".kept/file"} {
		if content, err := os.ReadFile(filepath.Join(s.root.Name(), name)); err != nil || string(content) != "hello world" {
			t.Errorf("%s: %q, %v", name, content, err)
		}
	}
	if _, err := put(t, s, "d", "b", "another"); err != nil {
		t.Fatal(err)
	}
	if u, err = s.Resume(t.Context(), f, ".kept/file", mark); err != nil {
		t.Fatal(err)
	}
	if _, err := u.Publish(t.Context(), "d", "b"); !errors.Is(err, ErrExists) {
		t.Errorf("over another file: %v", err)
	}
	u.Discard()
	if got := counters.Stats(); got.Open != 0 || got.Files[CodePartial] != 1 || got.Files[CodeStored] != 4 || got.Files[CodeExists] != 1 {
		t.Errorf("%+v", got)
	}
}

// A mark that is past the end of the file is no place to go on from.
func TestResumeWithoutTheBytes(t *testing.T) {
	s := openStore(t, filepath.Join(t.TempDir(), "up"), Options{})
	hash, f := sha256.New(), createFile(t, s, "short")
	state, err := hash.(encoding.BinaryMarshaler).MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []Checkpoint{{Size: 10}, {Size: 10, HashState: state}} {
		if _, err := s.Resume(t.Context(), f, ".kept/file", m); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("it goes on: %v", err)
		}
	}
	if _, err := s.PrivateFolder("visible"); err == nil {
		t.Error("a private folder that uploads could be named in")
	}
}

// What could not be synced is told, and the file stays its caller's.
func TestResumeSyncFailure(t *testing.T) {
	failing := func(c *syscalls) {
		c.fsync = func(f *os.File) error {
			if info, err := f.Stat(); err != nil || info.IsDir() {
				return err
			}
			return syscall.EIO
		}
	}
	s := openStore(t, filepath.Join(t.TempDir(), "up"), Options{}, failing)
	f := createFile(t, s, "")
	u, err := s.Resume(t.Context(), f, ".kept/file", Checkpoint{})
	if err != nil {
		t.Fatal(err)
	}
	if err := u.Sync(); !errors.Is(err, syscall.EIO) {
		t.Errorf("sync: %v", err)
	}
	u.Discard()
	if _, err := os.Stat(filepath.Join(s.root.Name(), ".kept/file")); err != nil {
		t.Error(err)
	}
}
