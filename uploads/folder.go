package uploads

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// folder is a directory of the store, open with every level above it, so that
// what was checked at one level is what the next is looked up in.
type folder struct {
	store  *Store
	levels []level // the store's root first, the directory itself last
}

type level struct {
	name string // in the level above
	root *os.Root
	made bool // by this call
}

// enter opens directory level by level, making what is missing if asked to.
// Each level is a directory and no symbolic link: os.Root alone would follow a
// link that stays inside, and one file could then be had by two names. The
// error wraps ErrName for a link, ErrExists for anything else that is no
// directory, fs.ErrNotExist if a level is missing or was removed again.
func (s *Store) openFolder(directory string, create bool) (*folder, error) {
	f := &folder{store: s, levels: []level{{root: s.root}}}
	for name := range strings.SplitSeq(directory, "/") {
		if err := f.openLevel(name, create); err != nil {
			if create {
				f.removeMade()
			}
			f.close()
			return nil, s.mapError(fmt.Errorf("open folder: %w", err))
		}
	}
	return f, nil
}

func (f *folder) openLevel(name string, create bool) error {
	parent := f.last().root
	info, err := parent.Lstat(name)
	made := false
	if create && errors.Is(err, fs.ErrNotExist) {
		err = f.store.sys.mkdir(parent, name)
		if made = err == nil; made {
			f.levels = append(f.levels, level{name: name, made: true})
		}
		if made || errors.Is(err, fs.ErrExist) { // another upload was quicker
			info, err = parent.Lstat(name)
		}
	}
	switch {
	case err != nil:
		return err
	case info.Mode().Type() == fs.ModeSymlink:
		return WithReason(ErrName, "a component of the directory is a symbolic link")
	case !info.IsDir():
		return WithReason(ErrExists, "a component of the directory is a file")
	}
	child, err := f.store.sys.opendir(parent, name)
	if err != nil {
		return err
	}
	if !made {
		f.levels = append(f.levels, level{name: name})
	}
	f.levels[len(f.levels)-1].root = child
	// Opening follows links; that this is still what was looked at leaves no
	// moment in which one could be put there. If it is not, it is gone.
	opened, err := child.Stat(".")
	if err == nil && !os.SameFile(info, opened) {
		err = fs.ErrNotExist
	}
	return err
}

func (f *folder) last() level { return f.levels[len(f.levels)-1] }

// sync makes the entries of every level durable, the innermost first. Levels
// that were there already are no exception: another process may have made one a
// moment ago and not synced its parent yet, and a clean one costs nothing.
func (f *folder) sync() error {
	for i := len(f.levels) - 1; i >= 0; i-- {
		dir, err := f.levels[i].root.Open(".")
		if err != nil {
			return fmt.Errorf("open folder: %w", err)
		}
		err = f.store.sys.fsync(dir)
		_ = dir.Close() // open for reading only: nothing is lost
		if err != nil {
			return fmt.Errorf("sync folder: %w", err)
		}
	}
	return nil
}

// undo removes the levels that this call made, as far as they are empty:
// another upload may be using one already.
func (f *folder) removeMade() { f.prune(func(l level) bool { return l.made }) }

// prune removes empty levels, the innermost first, up to one that is not empty,
// that is the store's own root, or that may not go.
func (f *folder) prune(mayRemove func(level) bool) {
	for i := len(f.levels) - 1; i > 0 && mayRemove(f.levels[i]); i-- {
		if f.store.sys.rmdir(f.levels[i-1].root, f.levels[i].name) != nil {
			return
		}
		if f.levels[i].root != nil {
			_ = f.levels[i].root.Close() // os.Root's Close has nothing to report
		}
		f.levels = f.levels[:i]
	}
}

// close releases every level but the store's own root.
func (f *folder) close() {
	for _, l := range f.levels[1:] {
		if l.root != nil {
			_ = l.root.Close() // os.Root's Close has nothing to report
		}
	}
}

// mapped turns os.Root's refusal to leave the root into ErrName.
func (s *Store) mapError(err error) error {
	if s.errEscapes != nil && errors.Is(err, s.errEscapes) {
		return WithReason(ErrName, "it leads out of the upload folder")
	}
	return err
}
