package tus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// orphanAge is the age after which a file that belongs to no upload is removed. Younger
// files may belong to an upload that is being created.
const orphanAge = time.Hour

// Sweep implements Place.
func (f *Folder) Sweep(ctx context.Context, retention time.Duration, visit func(Held, State) error) error {
	dir, err := f.ended.Open(".")
	if err != nil {
		return fmt.Errorf("open folder: %w", err)
	}
	defer func() { _ = dir.Close() }() // also releases the lock
	if locked, err := lockFolder(dir); !locked || err != nil {
		return err
	}
	err = forEachFile(f.ended, func(name string, info fs.FileInfo) error {
		if time.Since(info.ModTime()) < retention {
			return nil
		}
		return f.ended.Remove(name)
	})
	return errors.Join(err, forEachFile(f.unfinished, func(name string, info fs.FileInfo) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if id, ok := strings.CutSuffix(name, stateSuffix); ok {
			return f.sweepOne(id, info, visit)
		}
		if _, err := f.unfinished.Lstat(name + stateSuffix); errors.Is(err, fs.ErrNotExist) && time.Since(info.ModTime()) > orphanAge {
			return f.unfinished.Remove(name)
		}
		return nil
	}))
}

// lockFolder locks a folder until it is closed. It reports false if it is locked already.
func lockFolder(dir *os.File) (bool, error) {
	err := unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err != nil && !errors.Is(err, unix.EWOULDBLOCK) {
		return false, fmt.Errorf("lock folder: %w", err)
	}
	return err == nil, nil
}

// sweepOne calls visit for an upload, unless a request holds its lock. An unreadable state is
// removed when it is old: the upload may just be being created.
func (f *Folder) sweepOne(id string, info fs.FileInfo, visit func(Held, State) error) error {
	file, err := f.find(id)
	if errors.Is(err, ErrNotFound) {
		return nil // ended in the meantime, or not an upload
	}
	if err != nil {
		return err
	}
	u := &folderUpload{folder: f, state: file}
	defer u.Close()
	if held, err := tryLock(file, ownerByte); !held || err != nil {
		return err
	}
	u.saved, err = readState(file)
	switch {
	case errors.Is(err, ErrUnreadable) && time.Since(info.ModTime()) > orphanAge:
		f.log.Warn("upload lost", "upload", id, "error", err)
		return errors.Join(f.unfinished.Remove(id), f.unfinished.Remove(id+stateSuffix))
	case errors.Is(err, ErrUnreadable):
		return nil
	case err != nil:
		return err
	case u.saved.Phase != PhaseUnfinished: // a process was killed before it moved the state file
		return u.archive()
	}
	return visit(u, u.saved)
}

// forEachFile calls fn for every regular file in a folder. It continues after an error and
// returns all errors joined. Files that have been removed in the meantime are no error.
func forEachFile(root *os.Root, fn func(name string, info fs.FileInfo) error) (failed error) {
	dir, err := root.Open(".")
	if err != nil {
		return fmt.Errorf("open folder: %w", err)
	}
	defer func() { _ = dir.Close() }()
	for {
		batch, err := dir.ReadDir(256)
		for _, found := range batch {
			info, err := root.Lstat(found.Name())
			if err == nil && info.Mode().IsRegular() {
				err = fn(found.Name(), info)
			}
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				failed = errors.Join(failed, err)
			}
		}
		if errors.Is(err, io.EOF) {
			return failed
		}
		if err != nil {
			return errors.Join(failed, err)
		}
	}
}
