package filewatch

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/galeserver/gale/internal/testutil"
)

// watching runs a Watcher of a file a and of a tree, both in a new folder.
func watching(t *testing.T) (dir string, changes <-chan string) {
	t.Helper()
	dir = t.TempDir()
	write(t, filepath.Join(dir, "a"), "first")
	write(t, filepath.Join(dir, "tree/old/page.html"), "first")
	w, err := New([]Target{{Path: filepath.Join(dir, "a")}, {filepath.Join(dir, "tree"), true}}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	all, done := make(chan string, 100), make(chan error, 1)
	go func() { done <- w.Run(ctx, func(path string) { all <- path }) }() // ends with ctx
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return dir, all
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
}

func expect(t *testing.T, changes <-chan string, path string) {
	t.Helper()
	for limit := time.After(testutil.Patience); ; {
		select {
		case got := <-changes:
			if got == path {
				return
			}
		case <-limit:
			t.Fatalf("no change of %s", path)
		}
	}
}

func TestChanges(t *testing.T) {
	t.Parallel()
	dir, changes := watching(t)
	in := func(name string) string { return filepath.Join(dir, name) }
	for _, step := range []struct {
		name string
		do   func() error
		want string
	}{
		{"write", func() error { return os.WriteFile(in("a"), []byte("second"), 0o600) }, "a"},
		{"rename into place", func() error {
			return errors.Join(os.WriteFile(in(".a.new"), nil, 0o600), os.Rename(in(".a.new"), in("a")))
		}, "a"},
		{"remove", func() error { return os.Remove(in("a")) }, "a"},
		{"create", func() error { return os.WriteFile(in("a"), nil, 0o600) }, "a"},
		{"file in a tree", func() error { return os.WriteFile(in("tree/old/page.html"), nil, 0o600) }, "tree/old/page.html"},
		{"new folder", func() error { return os.MkdirAll(in("tree/new/deep"), 0o700) }, "tree/new"},
		{"file in a new folder", func() error { return os.WriteFile(in("tree/new/deep/b"), nil, 0o600) }, "tree/new/deep/b"},
		{"move the tree away", func() error { return os.Rename(in("tree"), in("away")) }, "tree"},
		{"move it back", func() error { return os.Rename(in("away"), in("tree")) }, "tree"},
		{"file in the tree that is back", func() error { return os.WriteFile(in("tree/new/deep/c"), nil, 0o600) }, "tree/new/deep/c"},
	} {
		if err := step.do(); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		t.Log(step.name)
		expect(t, changes, in(step.want))
	}
}

// Files that are no targets, hidden files, backups and changes of the mode are no changes.
func TestIgnored(t *testing.T) {
	t.Parallel()
	dir, changes := watching(t)
	for _, name := range []string{"b", "tree/.page.html.swp", "tree/page.html~", "tree/.git/config", ".hidden"} {
		write(t, filepath.Join(dir, name), "text")
	}
	if err := os.Chmod(filepath.Join(dir, "a"), 0o640); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "tree/last"), "text")
	if got := <-changes; got != filepath.Join(dir, "tree/last") {
		t.Errorf("change of %s", got)
	}
}

func TestSymbolicLink(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "releases/1"), "")
	if err := os.Symlink("releases/1", filepath.Join(dir, "current")); err != nil {
		t.Fatal(err)
	}
	w, err := New([]Target{{Path: filepath.Join(dir, "current")}}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	changes, done := make(chan string, 10), make(chan error, 1)
	go func() { done <- w.Run(ctx, func(path string) { changes <- path }) }() // ends with ctx
	write(t, filepath.Join(dir, "releases/1"), "second")
	if got := <-changes; !strings.HasSuffix(got, "releases/1") {
		t.Errorf("change of %s", got)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A change is reported once nothing has changed for 100 ms.
func TestQuietTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		events, changes := make(chan fsnotify.Event), make(chan string, 10)
		faults := make(chan error)
		ctx, cancel := context.WithCancel(t.Context())
		w := &Watcher{targets: []Target{{Path: "/bin/server"}}, log: slog.New(slog.DiscardHandler), events: events, errors: faults, close: func() error { return nil }}
		done := make(chan error, 1)
		go func() { done <- w.Run(ctx, func(path string) { changes <- path }) }() // ends with ctx
		for range 50 {                                                            // a compiler writes for four seconds
			events <- fsnotify.Event{Name: "/bin/server", Op: fsnotify.Write}
			time.Sleep(80 * time.Millisecond)
		}
		synctest.Wait()
		if len(changes) != 0 {
			t.Error("reported while the file was written")
		}
		time.Sleep(21 * time.Millisecond)
		synctest.Wait()
		if len(changes) != 1 || <-changes != "/bin/server" {
			t.Error("not reported after the file was written")
		}
		faults <- fsnotify.ErrEventOverflow
		time.Sleep(quiet + time.Millisecond)
		synctest.Wait()
		if len(changes) != 1 {
			t.Error("lost events are not reported as a change")
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// If the kernel allows no more watches, that is logged once, and the rest is watched.
func TestLimitOfWatches(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"1/a", "2/a", "3/a"} {
		write(t, filepath.Join(dir, name), "")
	}
	log := &testutil.LogBuffer{}
	added := 0
	w := &Watcher{log: slog.New(slog.NewTextHandler(log, nil)), add: func(path string) error {
		if added++; added > 2 {
			return syscall.ENOSPC
		}
		return nil
	}}
	if err := w.watch([]Target{{dir, true}}); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(log.String(), "fs.inotify.max_user_watches"); n != 1 || added != 5 {
		t.Errorf("%d of %d: %s", n, added, log)
	}
	w.add = func(string) error { return syscall.EACCES }
	w.addTree(dir)
	if n := strings.Count(log.String(), "folder is not watched"); n != 4 {
		t.Errorf("%d folders: %s", n, log)
	}
}
