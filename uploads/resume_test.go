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

// createFile creates a file in a private folder, as a caller of Resume does.
func createFile(t *testing.T, s *Store, content string) *os.File {
	t.Helper()
	root, err := s.PrivateFolder(".resumable-test")
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

// An upload continues at its checkpoint: later data in the file is overwritten, the
// SHA-256 is that of the whole file, and the caller's file is not removed.
func TestResume(t *testing.T) {
	counters := new(Counters)
	s := openStore(t, filepath.Join(t.TempDir(), "up"), Options{MaxFile: 20, Meter: counters})
	f := createFile(t, s, "")
	u, err := s.Resume(t.Context(), f, ".resumable-test/file", Checkpoint{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := u.Write(t.Context(), []byte("hello ")); err != nil {
		t.Fatal(err)
	}
	checkpoint, err := u.Checkpoint()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := u.Write(t.Context(), []byte("not counted")); err != nil {
		t.Fatal(err)
	}
	u.Pause()
	u.Discard()
	for _, m := range []Checkpoint{checkpoint, {Size: checkpoint.Size}, {Size: checkpoint.Size, HashState: []byte("of another version")}} {
		if u, err = s.Resume(t.Context(), f, ".resumable-test/file", m); err != nil {
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
	for _, name := range []string{"d/a", ".resumable-test/file"} {
		if content, err := os.ReadFile(filepath.Join(s.disk.root.Name(), name)); err != nil || string(content) != "hello world" {
			t.Errorf("%s: %q, %v", name, content, err)
		}
	}
	if _, err := put(t, s, "d", "b", "another"); err != nil {
		t.Fatal(err)
	}
	if u, err = s.Resume(t.Context(), f, ".resumable-test/file", checkpoint); err != nil {
		t.Fatal(err)
	}
	if _, err := u.Publish(t.Context(), "d", "b"); !errors.Is(err, ErrExists) {
		t.Errorf("Publish under the name of another file: %v", err)
	}
	u.Discard()
	if got := counters.Stats(); got.Open != 0 || got.Files[CodePartial] != 1 || got.Files[CodeStored] != 4 || got.Files[CodeExists] != 1 {
		t.Errorf("%+v", got)
	}
}

// Resume fails if the checkpoint is after the end of the file.
func TestResumeWithoutTheBytes(t *testing.T) {
	s := openStore(t, filepath.Join(t.TempDir(), "up"), Options{})
	hash, f := sha256.New(), createFile(t, s, "short")
	state, err := hash.(encoding.BinaryMarshaler).MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []Checkpoint{{Size: 10}, {Size: 10, HashState: state}} {
		if _, err := s.Resume(t.Context(), f, ".resumable-test/file", m); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("Resume: %v", err)
		}
	}
	if _, err := s.PrivateFolder("visible"); err == nil {
		t.Error("PrivateFolder accepted a name that uploads can use")
	}
}

// Sync returns the error of fsync, and Discard does not remove the caller's file.
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
	u, err := s.Resume(t.Context(), f, ".resumable-test/file", Checkpoint{})
	if err != nil {
		t.Fatal(err)
	}
	if err := u.Sync(); !errors.Is(err, syscall.EIO) {
		t.Errorf("sync: %v", err)
	}
	u.Discard()
	if _, err := os.Stat(filepath.Join(s.disk.root.Name(), ".resumable-test/file")); err != nil {
		t.Error(err)
	}
}
