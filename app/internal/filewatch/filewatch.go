// Package filewatch reports changes of files and folders (inotify(7)).
package filewatch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"
)

// quiet is the time without changes after which a change is reported. A compiler needs some
// time to write a binary, and an editor may save several files.
const quiet = 100 * time.Millisecond

// Target is what a Watcher watches.
type Target struct {
	// Path is the path of a file or folder. It does not have to exist.
	Path string
	// Tree is true if Path is a folder whose whole content is watched, except names that
	// begin with a dot or end in ~, which are hidden files and backups of editors.
	Tree bool
}

// Watcher watches targets. Create it with New and call Run once.
type Watcher struct {
	targets []Target // with absolute paths
	log     *slog.Logger
	limit   bool // the limit of watches was logged

	events <-chan fsnotify.Event
	errors <-chan error
	add    func(folder string) error
	close  func() error
}

// New returns a Watcher that already collects changes, for Run. The folders of the targets
// are watched, not the files, because editors and compilers replace files. If a folder cannot
// be watched, New logs the error and watches the others. New returns only errors of
// inotify_init(2).
func New(targets []Target, log *slog.Logger) (*Watcher, error) {
	n, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("watch files: %w", err)
	}
	w := &Watcher{log: log, events: n.Events, errors: n.Errors, add: n.Add, close: n.Close}
	return w, w.watch(targets)
}

// watch adds the targets.
func (w *Watcher) watch(targets []Target) error {
	for _, t := range targets {
		path, err := filepath.Abs(t.Path)
		if err != nil {
			return errors.Join(fmt.Errorf("watch files: %w", err), w.close())
		}
		paths := []string{path}
		if real, err := filepath.EvalSymlinks(path); err == nil && real != path {
			paths = append(paths, real) // a change of the link, and of its target
		}
		for _, path := range paths {
			w.targets = append(w.targets, Target{path, t.Tree})
			w.addFolder(filepath.Dir(path)) // also for a tree, because its folder may be replaced
			if t.Tree {
				w.addTree(path)
			}
		}
	}
	return nil
}

// Run calls changed for each change, with the path of the first file that has changed, once
// nothing has changed for 100 ms. It returns when ctx is done. changed must not block for
// long.
func (w *Watcher) Run(ctx context.Context, changed func(path string)) error {
	first := "" // first file that has changed after the last report
	timer := time.NewTimer(quiet)
	timer.Stop()
	defer timer.Stop()
	for {
		path := ""
		select {
		case <-ctx.Done():
			return w.close()
		case event := <-w.events:
			path = w.relevant(event)
		case err := <-w.errors:
			w.log.Warn("changes of files may have been missed", "error", err)
			path = w.targets[0].Path
		case <-timer.C:
			changed(first)
			first = ""
		}
		if path != "" {
			first = cmp.Or(first, path)
			timer.Reset(quiet)
		}
	}
}

// relevant returns the path of a file that has changed, or "" if the event is not about
// a target. New folders in a tree are watched from then on.
func (w *Watcher) relevant(event fsnotify.Event) string {
	if event.Op&^fsnotify.Chmod == 0 {
		return "" // owner, mode and times only
	}
	for _, t := range w.targets {
		if event.Name != t.Path && (!t.Tree || !within(t.Path, event.Name)) {
			continue
		}
		if t.Tree && event.Has(fsnotify.Create) {
			if info, err := os.Lstat(event.Name); err == nil && info.IsDir() {
				w.addTree(event.Name)
			}
		}
		return event.Name
	}
	return ""
}

// within reports whether path is below folder, and not ignored.
func within(folder, path string) bool {
	rest, ok := strings.CutPrefix(path, strings.TrimSuffix(folder, "/")+"/")
	if !ok {
		return false
	}
	for name := range strings.SplitSeq(rest, "/") {
		if ignored(name) {
			return false
		}
	}
	return true
}

func ignored(name string) bool { return strings.HasPrefix(name, ".") || strings.HasSuffix(name, "~") }

// addTree watches a folder and all folders below it.
func (w *Watcher) addTree(root string) {
	_ = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return nil //nolint:nilerr // addFolder has logged the error, or the file was removed in the meantime
		case !entry.IsDir():
			return nil
		case path != root && ignored(entry.Name()):
			return fs.SkipDir
		}
		w.addFolder(path) // before its entries are read, so that no new folder is missed
		return nil
	})
}

// addFolder watches a folder. It logs an error, but the limit only once.
func (w *Watcher) addFolder(path string) {
	err := w.add(path)
	switch {
	case err == nil, errors.Is(err, fs.ErrNotExist): // a folder that appears later is in a folder that is watched
	case !errors.Is(err, syscall.ENOSPC): // inotify_add_watch(2)
		w.log.Warn("folder is not watched", "folder", path, "error", err)
	case !w.limit:
		w.limit = true
		w.log.Error("too many folders, changes in some of them are not noticed: raise the sysctl fs.inotify.max_user_watches", "folder", path)
	}
}
