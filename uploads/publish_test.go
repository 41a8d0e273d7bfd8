package uploads

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/galeserver/gale/pool"
)

// 64 uploads publish under one name at the same time, through four stores as in four
// processes. The folder does not exist before.
func TestPublishRace(t *testing.T) {
	for kind, change := range storeKinds {
		t.Run(kind, func(t *testing.T) {
			dir := t.TempDir()
			var stores []*Store
			for range 4 {
				p := withPool(t, pool.Options{Workers: 3, Queue: 4})
				stores = append(stores, openStore(t, dir, Options{Pool: p}, change))
			}
			const racers = 64
			content := func(i int) string { return strings.Repeat(fmt.Sprintf("%02d", i), chunkSize) }
			results := make([]File, racers)
			var ready, done sync.WaitGroup
			ready.Add(racers)
			for i := range racers {
				done.Go(func() {
					u := create(t, stores[i%len(stores)])
					defer u.Discard()
					_, err := u.ReadFrom(t.Context(), strings.NewReader(content(i)))
					ready.Done()
					if err != nil {
						t.Errorf("racer %d: %v", i, err)
						return
					}
					ready.Wait()
					results[i], _ = u.Publish(t.Context(), "race/for", "it.bin")
				})
			}
			done.Wait()

			winner := slices.IndexFunc(results, func(f File) bool { return f.Code == CodeStored })
			for i, f := range results {
				if i != winner && f.Code != CodeExists {
					t.Errorf("racer %d: %+v", i, f)
				}
			}
			if winner < 0 {
				t.Fatal("no upload was published")
			}
			after := tree(t, dir)
			if after["race/for/it.bin"] != content(winner) || results[winner].SHA256 != sum(content(winner)) {
				t.Errorf("the content is not the winner's")
			}
			if len(after) != 5 { // ., incoming, race, race/for and the file
				t.Errorf("left %v", slices.Sorted(maps.Keys(after)))
			}
		})
	}
}

// create repeats Create while the pool is full, so that all uploads take part in the
// race.
func create(t *testing.T, s *Store) *Upload {
	for {
		u, err := s.Create(t.Context(), "", "")
		if err == nil {
			return u
		}
		if !errors.Is(err, pool.ErrFull) {
			t.Fatalf("create: %v", err)
		}
	}
}

// Failed uploads remove the folders that they created while other uploads publish in
// them.
func TestPublishWhileFoldersAreRemoved(t *testing.T) {
	eachKind(t, Options{}, func(t *testing.T, s *Store) {
		mustPut(t, s, "d", "keep", "x")
		before := tree(t, s.disk.root.Name())
		failing := openStore(t, s.disk.root.Name(), Options{}, func(c *syscalls) {
			c.linkat = func(int, string, int, string, int) error { return unix.ENOSPC }
		})
		var done sync.WaitGroup
		for i := range 8 {
			done.Go(func() {
				for range 50 {
					if _, err := put(t, failing, "d/come/go", "a", "x"); !isDiskFull(err) {
						t.Errorf("failing: %v", err)
					}
				}
			})
			done.Go(func() {
				name := fmt.Sprint(i)
				for range 20 {
					if f, err := put(t, s, "d/come/go", name, "x"); err != nil {
						t.Errorf("put: %+v, %v", f, err)
					}
					if err := s.Remove(t.Context(), "d/come/go", name); err != nil {
						t.Errorf("remove: %v", err)
					}
					// As a failed upload does it: only if the folder is empty.
					_ = s.disk.sys.rmdir(s.disk.root, "d/come/go")
				}
			})
		}
		done.Wait()
		for _, dir := range []string{"d/come/go", "d/come"} {
			if err := os.Remove(filepath.Join(s.disk.root.Name(), dir)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Error(err)
			}
		}
		wantUnchanged(t, s.disk.root.Name(), before)
	})
}

// To survive a power failure, the content must be synced before the file gets its name,
// and the folders before the response is sent.
func TestSyncOrder(t *testing.T) {
	for _, kind := range []string{"unnamed", "named"} {
		t.Run(kind, func(t *testing.T) {
			var log []string
			s := openStore(t, t.TempDir(), Options{}, storeKinds[kind], func(c *syscalls) { logCalls(c, &log) })
			mustPut(t, s, "old", "a", "content")
			log = nil
			mustPut(t, s, "old/new", "a", "content")
			want := []string{
				"write", "sync file", "mkdir new", "link",
				"sync new", "sync old", "sync " + filepath.Base(s.disk.root.Name()),
			}
			if !slices.Equal(log, want) {
				t.Errorf("got  %q\nwant %q", log, want)
			}
		})
	}
}

// logCalls records the system calls that make a file durable.
func logCalls(c *syscalls, log *[]string) {
	real := *c
	c.write = func(f *os.File, p []byte) (int, error) {
		*log = append(*log, "write")
		return real.write(f, p)
	}
	c.fsync = func(f *os.File) error {
		info, err := f.Stat()
		if err != nil {
			return err
		}
		what := "file"
		if info.IsDir() {
			what = filepath.Base(filepath.Clean(f.Name()))
		}
		*log = append(*log, "sync "+what)
		return real.fsync(f)
	}
	c.mkdir = func(parent *os.Root, name string) error {
		*log = append(*log, "mkdir "+name)
		return real.mkdir(parent, name)
	}
	c.linkat = func(olddir int, oldname string, newdir int, newname string, flags int) error {
		*log = append(*log, "link")
		return real.linkat(olddir, oldname, newdir, newname, flags)
	}
}

// failure makes a system call fail while *armed is true.
type failure func(c *syscalls, armed *bool)

func failWrite(written int, with error) failure {
	return func(c *syscalls, armed *bool) {
		write := c.write
		c.write = func(f *os.File, p []byte) (int, error) {
			if !*armed {
				return write(f, p)
			}
			n, _ := write(f, p[:written])
			return n, with
		}
	}
}

func failSync(folders bool, with error) failure {
	return func(c *syscalls, armed *bool) {
		fsync := c.fsync
		c.fsync = func(f *os.File) error {
			info, err := f.Stat()
			if err == nil && *armed && info.IsDir() == folders {
				return with
			}
			return fsync(f)
		}
	}
}

func failMkdir(called string, with error) failure {
	return func(c *syscalls, armed *bool) {
		mkdir := c.mkdir
		c.mkdir = func(parent *os.Root, name string) error {
			if *armed && name == called {
				return with
			}
			return mkdir(parent, name)
		}
	}
}

func failOpendir(called string, with error) failure {
	return func(c *syscalls, armed *bool) {
		opendir := c.opendir
		c.opendir = func(parent *os.Root, name string) (*os.Root, error) {
			if *armed && name == called {
				return nil, with
			}
			return opendir(parent, name)
		}
	}
}

func failLink(with error) failure {
	return func(c *syscalls, armed *bool) {
		linkat := c.linkat
		c.linkat = func(olddir int, oldname string, newdir int, newname string, flags int) error {
			if *armed {
				return with
			}
			return linkat(olddir, oldname, newdir, newname, flags)
		}
	}
}

// If any system call of an upload fails, no file and no new folder is left.
func TestPublishFailureLeavesNothing(t *testing.T) {
	for name, row := range map[string]struct {
		fail failure
		code int
	}{
		"half a write":                   {failWrite(1, unix.EDQUOT), CodeNoSpace},
		"too large for the file system":  {failWrite(0, unix.EFBIG), CodeTooLarge},
		"sync of the file":               {failSync(false, errors.New("boom")), CodeInternal},
		"sync of the folders":            {failSync(true, unix.EIO), CodeInternal},
		"no space for the folder":        {failMkdir("deeper", unix.ENOSPC), CodeNoSpace},
		"no descriptor for the folder":   {failOpendir("deeper", unix.EMFILE), CodeInternal},
		"no space for the name":          {failLink(unix.ENOSPC), CodeNoSpace},
		"too long for the file system":   {failLink(unix.ENAMETOOLONG), CodeInvalid},
		"folder removed again and again": {failLink(unix.ENOENT), CodeInternal},
		"another file system below":      {failLink(unix.EXDEV), CodeInternal},
	} {
		for kind, change := range storeKinds {
			t.Run(name+"/"+kind, func(t *testing.T) {
				armed := false
				s := openStore(t, t.TempDir(), Options{}, change, func(c *syscalls) { row.fail(c, &armed) })
				mustPut(t, s, "kept", "a", "content")
				before := tree(t, s.disk.root.Name())
				armed = true
				f, err := put(t, s, "kept/new/deeper", "b", "content")
				if err == nil || f.Code != row.code || strings.Contains(f.Reason, s.disk.root.Name()) {
					t.Errorf("got %+v, %v; want code %d", f, err, row.code)
				}
				wantUnchanged(t, s.disk.root.Name(), before)
				armed = false
				mustPut(t, s, "kept/new/deeper", "b", "content")
			})
		}
	}
}

// After a failed fsync the next one may succeed although bytes are lost.
func TestSyncFailureIsPermanent(t *testing.T) {
	armed := true
	s := openStore(t, t.TempDir(), Options{}, func(c *syscalls) { failSync(false, unix.EIO)(c, &armed) })
	u, err := s.Create(t.Context(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	defer u.Discard()
	for range 2 {
		if _, err := u.Publish(t.Context(), "d", "a"); !errors.Is(err, unix.EIO) {
			t.Errorf("got %v", err)
		}
		armed = false
	}
}

// A failed upload does not remove an empty folder that existed before.
func TestPublishFailureKeepsExistingFolder(t *testing.T) {
	armed := true
	s := openStore(t, t.TempDir(), Options{}, func(c *syscalls) { failLink(unix.ENOSPC)(c, &armed) })
	if err := os.Mkdir(filepath.Join(s.disk.root.Name(), "kept"), 0o700); err != nil {
		t.Fatal(err)
	}
	if f, err := put(t, s, "kept/new", "a", "content"); f.Code != CodeNoSpace {
		t.Errorf("%+v, %v", f, err)
	}
	if left := tree(t, s.disk.root.Name()); left["kept"] != "/" || left["kept/new"] != "" {
		t.Errorf("left %v", left)
	}
}
