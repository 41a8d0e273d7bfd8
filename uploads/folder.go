package uploads

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// folder is an open directory of a disk. All levels above it are open too: each level is
// looked up in the open level above it and not by its path, because a part of the path could
// be replaced by a symbolic link.
type folder struct {
	disk   *disk
	levels []level // the root of the disk first, the directory itself last
}

type level struct {
	name string // name in the level above
	root *os.Root
	made bool // true if this call of openFolder created it
}

// openFolder opens directory level by level and, with create, creates the missing
// ones. No level may be a symbolic link: os.Root alone would follow a link that stays
// inside the root, and one file would then have two names. The error wraps ErrName for
// a symbolic link, ErrExists for anything else that is not a directory, and
// fs.ErrNotExist if a level is missing or has been removed in the meantime.
func (d *disk) openFolder(directory string, create bool) (*folder, error) {
	f := &folder{disk: d, levels: []level{{root: d.root}}}
	for name := range strings.SplitSeq(directory, "/") {
		if err := f.openLevel(name, create); err != nil {
			if create {
				f.removeMade()
			}
			f.close()
			return nil, d.mapError(fmt.Errorf("open folder: %w", err))
		}
	}
	return f, nil
}

func (f *folder) openLevel(name string, create bool) error {
	parent := f.last().root
	info, err := parent.Lstat(name)
	made := false
	if create && errors.Is(err, fs.ErrNotExist) {
		err = f.disk.sys.mkdir(parent, name)
		if made = err == nil; made {
			f.levels = append(f.levels, level{name: name, made: true})
		}
		if made || errors.Is(err, fs.ErrExist) { // made by another upload in the meantime
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
	child, err := f.disk.sys.opendir(parent, name)
	if err != nil {
		return err
	}
	if !made {
		f.levels = append(f.levels, level{name: name})
	}
	f.levels[len(f.levels)-1].root = child
	// OpenRoot follows symbolic links. If the opened folder is not the checked one, it was
	// replaced in the meantime. Return the error for a removed folder.
	opened, err := child.Stat(".")
	if err == nil && !os.SameFile(info, opened) {
		err = fs.ErrNotExist
	}
	return err
}

func (f *folder) last() level { return f.levels[len(f.levels)-1] }

// sync makes the entries of every level durable, the innermost first. It also syncs the
// levels that existed before, because another process may have created one and not synced
// its parent yet. The sync of an unchanged folder writes nothing, but the disk may flush its cache.
func (f *folder) sync() error {
	for i := len(f.levels) - 1; i >= 0; i-- {
		dir, err := f.levels[i].root.Open(".")
		if err != nil {
			return fmt.Errorf("open folder: %w", err)
		}
		err = f.disk.sys.fsync(dir)
		_ = dir.Close() // opened for reading only
		if err != nil {
			return fmt.Errorf("sync folder: %w", err)
		}
	}
	return nil
}

// removeMade removes the levels that openFolder created, unless another upload already
// uses them.
func (f *folder) removeMade() { f.prune(func(l level) bool { return l.made }) }

// prune removes levels, the innermost first. It stops at the first one that is not
// empty, or that mayRemove excludes, and at the root of the disk.
func (f *folder) prune(mayRemove func(level) bool) {
	for i := len(f.levels) - 1; i > 0 && mayRemove(f.levels[i]); i-- {
		if f.disk.sys.rmdir(f.levels[i-1].root, f.levels[i].name) != nil {
			return
		}
		if f.levels[i].root != nil {
			_ = f.levels[i].root.Close() // os.Root's Close has nothing to report
		}
		f.levels = f.levels[:i]
	}
}

// close closes every level but the root of the disk.
func (f *folder) close() {
	for _, l := range f.levels[1:] {
		if l.root != nil {
			_ = l.root.Close() // os.Root's Close has nothing to report
		}
	}
}

// mapError turns the error of os.Root for a path that leads out of the root into
// ErrName.
func (d *disk) mapError(err error) error {
	if d.errEscapes != nil && errors.Is(err, d.errEscapes) {
		return WithReason(ErrName, "the path leads out of the upload folder")
	}
	return err
}
