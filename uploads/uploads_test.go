package uploads

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/galeserver/gale/pool"
)

// storeKinds are the ways a file gets its name. Most tests run with each of them.
var storeKinds = map[string]func(*syscalls){
	"unnamed": func(*syscalls) {},
	"unnamed through proc": func(c *syscalls) {
		linkat := c.linkat
		c.linkat = func(olddir int, oldname string, newdir int, newname string, flags int) error {
			if flags&unix.AT_EMPTY_PATH != 0 {
				return unix.ENOENT // as for a process without CAP_DAC_READ_SEARCH
			}
			return linkat(olddir, oldname, newdir, newname, flags)
		}
	},
	"named": withoutUnnamed,
}

func withoutUnnamed(c *syscalls) {
	c.tmpfile = func(*os.Root) (*os.File, error) { return nil, unix.EOPNOTSUPP }
}

// eachKind runs a test with a new store of each kind.
func eachKind(t *testing.T, o Options, test func(t *testing.T, s *Store)) {
	for _, kind := range slices.Sorted(maps.Keys(storeKinds)) {
		t.Run(kind, func(t *testing.T) {
			test(t, openStore(t, filepath.Join(t.TempDir(), "up"), o, storeKinds[kind]))
		})
	}
}

// openStore opens a store with changed system calls and closes it at the end of the
// test. fsync does nothing, unless a change replaces it, because it takes long.
func openStore(t testing.TB, dir string, o Options, change ...func(*syscalls)) *Store {
	t.Helper()
	sys := realSyscalls()
	withoutSync(&sys)
	for _, c := range change {
		c(&sys)
	}
	s, err := open(dir, o, sys)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

// withPool returns a pool that is stopped at the end of the test.
func withPool(t testing.TB, o pool.Options) *pool.Pool {
	p := pool.New(o)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }() // ends with ctx
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("pool: %v", err)
		}
	})
	return p
}

// tree returns all paths below dir. The value is the content of a file, "-> " and the
// target of a symbolic link, or "/" for a folder.
func tree(t testing.TB, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		switch {
		case e.IsDir():
			found[name] = "/"
		case e.Type() == fs.ModeSymlink:
			target, err := os.Readlink(path)
			found[name] = "-> " + target
			return err
		default:
			content, err := os.ReadFile(path)
			found[name] = string(content)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatalf("walk: %v", err)
	}
	return found
}

// wantUnchanged reports each difference between a tree and an earlier state of it.
func wantUnchanged(t testing.TB, dir string, before map[string]string) {
	t.Helper()
	after := tree(t, dir)
	for name := range after {
		if _, ok := before[name]; !ok {
			t.Errorf("%s was created", name)
		}
	}
	for name, content := range before {
		if after[name] != content {
			t.Errorf("%s was changed or removed", name)
		}
	}
}

func put(t testing.TB, s *Store, directory, filename, content string) (File, error) {
	t.Helper()
	u, err := s.Create(t.Context(), "", "")
	if err != nil {
		return NewFile(directory, filename, err), err
	}
	defer u.Discard()
	if _, err := u.ReadFrom(t.Context(), strings.NewReader(content)); err != nil {
		return NewFile(directory, filename, err), err
	}
	return u.Publish(t.Context(), directory, filename)
}

func mustPut(t testing.TB, s *Store, directory, filename, content string) {
	t.Helper()
	if _, err := put(t, s, directory, filename, content); err != nil {
		t.Fatalf("put %s/%s: %v", directory, filename, err)
	}
}

func sum(content string) string {
	h := sha256.Sum256([]byte(content))
	return hex.EncodeToString(h[:])
}

func withoutSync(c *syscalls) { c.fsync = func(*os.File) error { return nil } }
func withSync(c *syscalls)    { c.fsync = realSyscalls().fsync }

func TestPublish(t *testing.T) {
	eachKind(t, Options{}, func(t *testing.T, s *Store) {
		withSync(&s.disk.sys)
		if named := strings.HasSuffix(t.Name(), "/named"); s.disk.useTemporaries != named {
			t.Fatalf("named temporaries: %v", s.disk.useTemporaries)
		}
		u, err := s.Create(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		defer u.Discard()
		before := tree(t, s.disk.root.Name())
		for _, p := range []string{"one ", "two ", ""} {
			if _, err := u.Write(t.Context(), []byte(p)); err != nil {
				t.Fatal(err)
			}
		}
		if n, err := u.ReadFrom(t.Context(), strings.NewReader("three")); n != 5 || err != nil {
			t.Fatalf("ReadFrom: %d, %v", n, err)
		}
		if u.Size() != 13 {
			t.Errorf("size %d", u.Size())
		}
		if !s.disk.useTemporaries {
			wantUnchanged(t, s.disk.root.Name(), before)
		}
		got, err := u.Publish(t.Context(), "music/söngs", "a.mp3")
		want := File{
			Directory: "music/söngs", Filename: "a.mp3", Size: 13,
			SHA256: sum("one two three"), Code: CodeStored, Reason: "OK",
		}
		if err != nil || got != want {
			t.Errorf("got %+v, %v; want %+v", got, err, want)
		}
		after := tree(t, s.disk.root.Name())
		if len(after) != 5 || after["music/söngs/a.mp3"] != "one two three" || after[incoming] != "/" {
			t.Errorf("left %v", after)
		}
		if info, err := os.Stat(filepath.Join(s.disk.root.Name(), "music/söngs/a.mp3")); err != nil || info.Mode() != 0o640 {
			t.Errorf("mode %v, %v", info.Mode(), err)
		}
		if _, err := u.Write(t.Context(), []byte("more")); !errors.Is(err, errFinished) {
			t.Errorf("Write after Publish: %v", err)
		}
		if _, err := u.Publish(t.Context(), "again", "a"); !errors.Is(err, errFinished) {
			t.Errorf("second Publish: %v", err)
		}
		u.Discard()
		u.Discard()
		wantUnchanged(t, s.disk.root.Name(), after)
	})
}

func TestDiscardLeavesNothing(t *testing.T) {
	eachKind(t, Options{}, func(t *testing.T, s *Store) {
		before := tree(t, s.disk.root.Name())
		u, err := s.Create(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := u.Write(t.Context(), bytes.Repeat([]byte("x"), 1<<20)); err != nil {
			t.Fatal(err)
		}
		u.Discard()
		wantUnchanged(t, s.disk.root.Name(), before)
	})
}

func TestExistingFileIsNotReplaced(t *testing.T) {
	eachKind(t, Options{}, func(t *testing.T, s *Store) {
		mustPut(t, s, "d", "a", "first")
		mustPut(t, s, "d/sub", "b", "first")
		before := tree(t, s.disk.root.Name())

		if err := s.Check(t.Context(), "d", "a"); !errors.Is(err, ErrExists) {
			t.Errorf("Check: %v", err)
		}
		for _, free := range [][2]string{{"d", "free"}, {"nowhere", "a"}} {
			if err := s.Check(t.Context(), free[0], free[1]); err != nil {
				t.Errorf("Check of a free name: %v", err)
			}
		}
		u, err := s.Create(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		defer u.Discard()
		if _, err := u.Write(t.Context(), []byte("second")); err != nil {
			t.Fatal(err)
		}
		for _, taken := range [][2]string{{"d", "a"}, {"d", "sub"}, {"d/a", "x"}, {"d/a/deeper", "x"}} {
			f, err := u.Publish(t.Context(), taken[0], taken[1])
			if !errors.Is(err, ErrExists) || f.Code != CodeExists || f.SHA256 != "" {
				t.Errorf("Publish %v: %+v, %v", taken, f, err)
			}
		}
		wantUnchangedExceptTemporary(t, s, before)
		// After ErrExists the upload can be published under another name.
		if f, err := u.Publish(t.Context(), "d", "c"); err != nil || f.Size != 6 {
			t.Errorf("Publish under another name: %+v, %v", f, err)
		}
	})
}

// wantUnchangedExceptTemporary is wantUnchanged that ignores temporary files.
func wantUnchangedExceptTemporary(t *testing.T, s *Store, before map[string]string) {
	t.Helper()
	after := tree(t, s.disk.root.Name())
	maps.DeleteFunc(after, func(name, _ string) bool { return strings.HasPrefix(name, incoming+"/") })
	if !maps.Equal(before, after) {
		t.Errorf("changed: before %v, after %v", before, after)
	}
}

func TestMaxFile(t *testing.T) {
	eachKind(t, Options{MaxFile: 10}, func(t *testing.T, s *Store) {
		mustPut(t, s, "d", "exact", "0123456789")
		before := tree(t, s.disk.root.Name())
		f, err := put(t, s, "d", "over", "0123456789x")
		if !errors.Is(err, ErrTooLarge) || f.Code != CodeTooLarge {
			t.Errorf("got %+v, %v", f, err)
		}
		wantUnchanged(t, s.disk.root.Name(), before)
	})
	t.Run("permanent", func(t *testing.T) {
		s := openStore(t, t.TempDir(), Options{MaxFile: 10})
		u, err := s.Create(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		defer u.Discard()
		_, first := u.Write(t.Context(), make([]byte, 11))
		_, second := u.Write(t.Context(), make([]byte, 1))
		_, publish := u.Publish(t.Context(), "d", "a")
		for _, err := range []error{first, second, publish} {
			if !errors.Is(err, ErrTooLarge) {
				t.Errorf("got %v", err)
			}
		}
	})
	t.Run("negative means no limit", func(t *testing.T) {
		s := openStore(t, t.TempDir(), Options{MaxFile: -1})
		mustPut(t, s, "d", "a", "x")
	})
}

func TestOpenAndRemove(t *testing.T) {
	s := openStore(t, t.TempDir(), Options{})
	mustPut(t, s, "d", "a", "content")
	f, err := s.Open("d", "a")
	if err != nil {
		t.Fatal(err)
	}
	if content, err := io.ReadAll(f); err != nil || string(content) != "content" {
		t.Errorf("%q, %v", content, err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if err := unix.Mkfifo(filepath.Join(s.disk.root.Name(), "d", "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	mustPut(t, s, "d/sub", "b", "content")
	for _, n := range [][2]string{{"d", "none"}, {"none", "a"}, {"d/a", "x"}, {"d", "sub"}, {"d", "fifo"}} {
		if f, err := s.Open(n[0], n[1]); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Open %v: %v, %v", n, f, err)
		}
		before := tree(t, filepath.Join(s.disk.root.Name(), "d", "sub"))
		if err := s.Remove(t.Context(), n[0], n[1]); err != nil {
			t.Errorf("Remove %v: %v", n, err)
		}
		wantUnchanged(t, filepath.Join(s.disk.root.Name(), "d", "sub"), before)
	}
	if err := s.Remove(t.Context(), "d", "a"); err != nil {
		t.Errorf("Remove: %v", err)
	}
	if _, err := s.Open("d", "a"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Open after Remove: %v", err)
	}
	if _, err := os.Lstat(filepath.Join(s.disk.root.Name(), "d", "fifo")); err != nil {
		t.Errorf("Remove took a fifo: %v", err)
	}
}

func TestOpenStoreErrors(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	trap := t.TempDir()
	if err := os.Symlink(t.TempDir(), filepath.Join(trap, incoming)); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{file, trap, "/proc/self/nowhere", "/sys/kernel"} {
		s, err := Open(dir, Options{})
		if err == nil {
			t.Errorf("Open(%s) succeeded", dir)
			_ = s.Close()
			continue
		}
		if !strings.Contains(err.Error(), "upload folder") {
			t.Errorf("Open(%s): %v", dir, err)
		}
	}
}
