package backup

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/galeserver/gale/uploads"
)

// Folders of the store of uploads (docs/reference/files.md).
const (
	incomingFolder  = ".incoming"  // files that are being received
	resumableFolder = ".resumable" // unfinished resumable uploads
	pendingFolder   = ".pending"   // records of stored files whose tasks are not accepted yet
	placeFile       = ".place"     // id of the folder, which a copy must not have
)

// copyUploads copies the stored files, and calls snapshot for the copy of the tasks: steps 1 to
// 5 of Write.
func copyUploads(ctx context.Context, from, to string, snapshot func() error) (counts, error) {
	if _, err := os.Stat(from); errors.Is(err, fs.ErrNotExist) {
		return counts{}, snapshot()
	}
	c, err := newCopier(ctx, from, to)
	if err != nil {
		return counts{}, err
	}
	defer c.close()
	u := &uploadCopier{copier: c, copied: map[string]fs.FileInfo{}}
	for range 2 { // the second time is short, so few files need step 5
		if err := u.update(nil); err != nil {
			return c.counts, err
		}
	}
	if err := u.records(); err != nil {
		return c.counts, err
	}
	if err := snapshot(); err != nil {
		return c.counts, err
	}
	err = u.late(ctx, to) // counts, too
	return c.counts, err
}

type uploadCopier struct {
	*copier
	copied map[string]fs.FileInfo // the copied files, by name
}

// update copies the stored files that are not copied yet, and removes the copies of files that
// no longer exist. done, if it is set, is called for each file that it copies.
func (u *uploadCopier) update(done func(name string, info fs.FileInfo)) error {
	seen := map[string]bool{}
	err := u.tree(func(name string, isDir bool) bool {
		if isDir {
			return name != incomingFolder && name != resumableFolder && name != pendingFolder
		}
		if name == placeFile {
			return false
		}
		seen[name] = true
		return !u.isCopied(name)
	}, func(name string, info fs.FileInfo) {
		u.copied[name] = info
		if done != nil {
			done(name, info)
		}
	})
	if err != nil {
		return err
	}
	for name, info := range u.copied {
		if seen[name] {
			continue
		}
		if err := u.to.Remove(name); err != nil {
			return err
		}
		u.files, u.bytes = u.files-1, u.bytes-info.Size()
		delete(u.copied, name)
	}
	return nil
}

// isCopied reports whether the file was copied and is still the same.
func (u *uploadCopier) isCopied(name string) bool {
	was := u.copied[name]
	if was == nil {
		return false
	}
	info, err := u.from.Lstat(name)
	if err == nil && os.SameFile(was, info) && was.Size() == info.Size() && was.Mode() == info.Mode() && was.ModTime().Equal(info.ModTime()) {
		return true
	}
	u.files, u.bytes = u.files-1, u.bytes-was.Size() // it is counted again
	delete(u.copied, name)
	return false
}

// records copies the records of stored files whose tasks are not accepted yet.
func (u *uploadCopier) records() error {
	before := u.counts
	err := u.tree(func(name string, isDir bool) bool {
		return isDir && name == pendingFolder || !isDir && strings.HasPrefix(name, pendingFolder+"/")
	}, nil)
	u.counts = before // they are no files of users
	return err
}

// late copies the files that were stored after the second update, with a record for each.
func (u *uploadCopier) late(ctx context.Context, to string) error {
	var files []uploads.File
	err := u.update(func(name string, _ fs.FileInfo) {
		directory, filename := path.Split(name)
		directory = strings.TrimSuffix(directory, "/")
		if uploads.CheckName(directory, filename) == nil { // it has its own name already
			files = append(files, uploads.NewFile(directory, filename, nil))
		}
	})
	if err != nil || len(files) == 0 {
		return err
	}
	store, err := uploads.Open(to, uploads.Options{})
	if err != nil {
		return err
	}
	return errors.Join(store.AddPending(ctx, files...), store.Close(), os.RemoveAll(filepath.Join(to, incomingFolder)))
}
