package uploads

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// storedCalls records the calls of Options.Stored by id.
type storedCalls struct {
	mu    sync.Mutex
	fail  error
	files map[string][]File
}

func (c *storedCalls) stored(_ context.Context, id string, f File) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.files == nil {
		c.files = map[string][]File{}
	}
	c.files[id] = append(c.files[id], f)
	return c.fail
}

// names returns the number of calls by the name of the file.
func (c *storedCalls) names() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := map[string]int{}
	for _, files := range c.files {
		all[files[0].Directory+"/"+files[0].Filename] += len(files)
	}
	return all
}

func records(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(dir, pending))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, filepath.Join(dir, pending, e.Name()))
	}
	return names
}

func retry(t *testing.T, s *Store, left int) {
	t.Helper()
	if n, err := s.retry(t.Context()); n != left || (err != nil) != (left > 0) {
		t.Fatalf("%d are left, %v; want %d", n, err, left)
	}
}

// If Stored fails, the file is stored all the same, and Stored is called again with the
// same id and a growing interval until it succeeds.
func TestStoredIsRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		errStored := errors.New("error of Stored")
		calls := storedCalls{fail: errStored}
		s := openStore(t, dir, Options{Stored: calls.stored})
		f, err := put(t, s, "d", "a", "content")
		if err != nil || f.Code != CodeStored || f.Reason != "OK" || f.ID == "" || !errors.Is(f.StoredErr, errStored) {
			t.Fatalf("%+v, %v", f, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- s.Run(ctx) }()
		time.Sleep(minRetry*3 + minRetry/2)
		if n := calls.names()["d/a"]; n != 4 { // by Publish, at the start of Run, after 5 s and 10 s later
			t.Errorf("called %d times", n)
		}
		calls.mu.Lock()
		calls.fail = nil
		calls.mu.Unlock()
		time.Sleep(10 * maxRetry)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if n := len(calls.files[f.ID]); n != 5 || len(calls.files) != 1 || len(records(t, dir)) != 0 {
			t.Errorf("called %v, left %v", calls.files, records(t, dir))
		}
	})
}

// Of the files of a form, Stored is called again only for those for which it failed.
func TestStoredWithMultipart(t *testing.T) {
	dir := t.TempDir()
	bad := errors.New("not this one")
	var calls storedCalls
	fail := true
	s := openStore(t, dir, Options{
		StoredFilter: func(_, filename string) bool { return filename != "unwanted" },
		Stored: func(ctx context.Context, id string, f File) error {
			if err := calls.stored(ctx, id, f); err != nil || f.Filename != "bad" || !fail {
				return err
			}
			return bad
		},
	})
	body := formBody(filePart("d", "one", "1"), filePart("d", "unwanted", "2"), filePart("d", "bad", "3"), filePart("d", "..", "4"), filePart("d", "four", "5"))
	resp, err := s.Multipart(t.Context(), strings.NewReader(body), testBoundary)
	if err != nil || !codes(resp, CodeStored, CodeStored, CodeStored, CodeInvalid, CodeStored) {
		t.Fatalf("%+v, %v", resp, err)
	}
	if !errors.Is(resp.Files[2].StoredErr, bad) || resp.Files[0].StoredErr != nil || resp.Files[1].ID != "" || resp.Files[0].ID == resp.Files[4].ID {
		t.Errorf("%+v", resp)
	}
	retry(t, s, 1)
	fail = false
	retry(t, s, 0)
	if want := map[string]int{"d/one": 1, "d/bad": 3, "d/four": 1}; !maps.Equal(calls.names(), want) || len(records(t, dir)) != 0 {
		t.Errorf("called %v, left %v", calls.names(), records(t, dir))
	}
}

// Stored is not called again for a file that has been removed, changed or replaced.
func TestStoredAfterFileChanged(t *testing.T) {
	dir := t.TempDir()
	calls := storedCalls{fail: errors.New("failure")}
	s := openStore(t, dir, Options{Stored: calls.stored})
	for _, name := range []string{"removed", "changed", "replaced", "stays"} {
		mustPut(t, s, "d", name, "content")
	}
	calls.fail, calls.files = nil, nil
	for _, err := range []error{
		s.Remove(t.Context(), "d", "removed"), os.WriteFile(filepath.Join(dir, "d/changed"), []byte("CONTENT"), 0o600),
		s.Remove(t.Context(), "d", "replaced"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	mustPut(t, s, "d", "replaced", "another")
	retry(t, s, 0)
	if want := map[string]int{"d/replaced": 1, "d/stays": 1}; !maps.Equal(calls.names(), want) || len(records(t, dir)) != 0 {
		t.Errorf("called %v, left %v", calls.names(), records(t, dir))
	}
}

// Two processes that retry at the same time call Stored once for each file.
func TestConcurrentRetry(t *testing.T) {
	dir := t.TempDir()
	calls := storedCalls{fail: errors.New("failure")}
	stores := []*Store{openStore(t, dir, Options{Stored: calls.stored}), openStore(t, dir, Options{Stored: calls.stored})}
	for i := range 50 {
		mustPut(t, stores[0], "d", fmt.Sprint(i), "content")
	}
	calls.fail, calls.files = nil, nil
	var done sync.WaitGroup
	for _, s := range slices.Concat(stores, stores) {
		done.Go(func() {
			for range 20 {
				if _, err := s.retry(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	done.Wait()
	if len(calls.files) != 50 || len(records(t, dir)) != 0 {
		t.Errorf("called for %d, left %v", len(calls.files), records(t, dir))
	}
	for name, n := range calls.names() {
		if n != 1 {
			t.Errorf("%s: called %d times", name, n)
		}
	}
}

// If the pending record cannot be written, files that need one are not published.
func TestPendingRecordFailure(t *testing.T) {
	isRecord := func(f *os.File) bool { return strings.Contains(f.Name(), pending) }
	for name, row := range map[string]struct {
		fail func(c *syscalls)
		code int
	}{
		"no space": {func(c *syscalls) {
			write := c.write
			c.write = func(f *os.File, p []byte) (int, error) {
				if isRecord(f) {
					return 0, unix.ENOSPC
				}
				return write(f, p)
			}
		}, CodeNoSpace},
		"sync": {func(c *syscalls) {
			c.fsync = func(f *os.File) error {
				if isRecord(f) {
					return unix.EIO
				}
				return nil
			}
		}, CodeInternal},
	} {
		t.Run(name, func(t *testing.T) {
			var calls storedCalls
			s := openStore(t, t.TempDir(), Options{Stored: calls.stored, StoredFilter: func(_, filename string) bool { return filename == "wanted" }}, row.fail)
			if f, err := put(t, s, "d", "wanted", "content"); err == nil || f.Code != row.code {
				t.Errorf("%+v, %v", f, err)
			}
			if resp, err := submit(t, s, strings.NewReader(formBody(filePart("d", "wanted", "1"), filePart("d", "not", "2")))); err != nil || !codes(resp, row.code, CodeStored) {
				t.Errorf("%+v, %v", resp, err)
			}
			if left := tree(t, s.disk.root.Name()); left["d/wanted"] != "" || left["d/not"] != "2" || len(records(t, s.disk.root.Name())) != 0 || len(calls.files) != 0 {
				t.Errorf("left %v, called %v", left, calls.files)
			}
		})
	}
}

// Names and ids in pending records are checked, because somebody else may have written
// them.
func TestHostileRecords(t *testing.T) {
	eachStoreWithNeighbours(t, func(t *testing.T, s *Store, parent string) {
		var calls storedCalls
		var log strings.Builder
		dir := s.disk.root.Name()
		s.options.Stored, s.disk.log = calls.stored, textLogger(&log)
		mustPut(t, s, "d", "good", "content")
		info, err := os.Stat(filepath.Join(dir, "d/good"))
		if err != nil {
			t.Fatal(err)
		}
		calls.files = nil
		line := func(id, directory, filename string) string {
			return fmt.Sprintf(`{"id":%q,"directory":%q,"filename":%q,"size":%d,"modified":%d,"sha256":%q}`+"\n",
				id, directory, filename, info.Size(), info.ModTime().UnixNano(), sum("content"))
		}
		bad := []string{
			line("X", "..", "secret"), line("X", "d/../..", "secret"), line("X", "/etc", "passwd"), line("X", ".pending", "x"),
			line("", "d", "good"), line("../x", "d", "good"), line("a\nb", "d", "good"), line(strings.Repeat("x", 101), "d", "good"), "garbage\n", "\x00\x00\n", "{\n",
		}
		for name, text := range map[string]string{
			"bad": strings.Join(bad, "") + line("GOOD", "d", "good"), "empty": "", "torn": line("X", "d", "good")[:40],
			"long": strings.Repeat("x", 2*maxPendingLine),
		} {
			if err := os.WriteFile(filepath.Join(dir, pending, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for _, err := range []error{
			os.Symlink("../../outside", filepath.Join(dir, pending, "link")), os.Mkdir(filepath.Join(dir, pending, "folder"), 0o700),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
		before := tree(t, parent)
		retry(t, s, 0)
		if len(calls.files) != 1 || len(calls.files["GOOD"]) != 1 {
			t.Errorf("called %v", calls.files)
		}
		if n := strings.Count(log.String(), "pending record skipped"); n != len(bad)+2 {
			t.Errorf("%d lines skipped; want %d:\n%s", n, len(bad)+2, &log)
		}
		if left := records(t, dir); len(left) != 2 {
			t.Errorf("left %v", left)
		}
		for name, content := range before {
			if after := tree(t, parent); !strings.Contains(name, pending) && after[name] != content {
				t.Errorf("%s has changed", name)
			}
		}
	})
}

// Without a file that needs Stored no folder for pending records is created, and retry
// and Run work without that folder.
func TestStoredFilter(t *testing.T) {
	var calls storedCalls
	s := openStore(t, t.TempDir(), Options{Stored: calls.stored, StoredFilter: func(string, string) bool { return false }})
	mustPut(t, s, "d", "a", "content")
	if _, err := os.Lstat(filepath.Join(s.disk.root.Name(), pending)); !os.IsNotExist(err) || len(calls.files) != 0 {
		t.Errorf("%v, %v", err, calls.files)
	}
	retry(t, s, 0)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := openStore(t, s.disk.root.Name(), Options{}).Run(ctx); err != nil {
		t.Error(err)
	}
}

func TestStoredPanics(t *testing.T) {
	s := openStore(t, t.TempDir(), Options{Stored: func(context.Context, string, File) error { panic("boom") }})
	if f, err := put(t, s, "d", "a", "content"); err != nil || f.StoredErr == nil || len(records(t, s.disk.root.Name())) != 1 {
		t.Errorf("%+v, %v", f, err)
	}
}

// The pending record is synced before the first file gets its name. A form has one
// record.
func TestPendingRecordSyncOrder(t *testing.T) {
	var log []string
	s := openStore(t, t.TempDir(), Options{Stored: new(storedCalls).stored}, func(c *syscalls) { logCalls(c, &log) })
	mustPut(t, s, "d", "first", "content")
	log = nil
	if resp, err := s.Multipart(t.Context(), strings.NewReader(formBody(filePart("d", "a", "1"), filePart("d", "b", "2"))), testBoundary); err != nil || !codes(resp, CodeStored, CodeStored) {
		t.Fatalf("%+v, %v", resp, err)
	}
	root := filepath.Base(s.disk.root.Name())
	want := []string{
		"write", "write", "sync file", "sync file", "write", "sync file", "sync " + pending,
		"link", "sync d", "sync " + root, "link", "sync d", "sync " + root,
	}
	if !slices.Equal(log, want) {
		t.Errorf("got  %q\nwant %q", log, want)
	}
}
