package uploads

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// MaxList is the highest number of entries that List returns in one call.
const MaxList = 1000

// listBatch is the number of entries that are read from a folder at once.
const listBatch = 256

// Entry is a stored file or a folder, as List returns it.
type Entry struct {
	Name     string
	Folder   bool
	Size     int64 // bytes; 0 for a folder
	Modified time.Time
}

// List returns one page of the files and folders in directory, sorted by the bytes of
// their names; the name of a folder counts with a slash at its end. It returns only names
// greater than after, and at most limit of them (1 to MaxList). For the first page after is
// "". next is the value of after for the next page, or "" if there is none. The empty
// directory is the store's own folder.
//
// List leaves out files in quarantine, symbolic links, special files and names that CheckName refuses. It
// runs in the pool, and its memory depends on limit, not on the size of the folder.
//
// The error wraps ErrName for an unacceptable name or one that contains a symbolic
// link, and fs.ErrNotExist if there is no such folder. If the pool is full, List does not
// wait: the error is pool.ErrFull.
func (s *Store) List(ctx context.Context, directory, after string, limit int) (entries []Entry, next string, err error) {
	if directory != "" {
		if err := CheckName(directory, "any"); err != nil {
			return nil, "", err
		}
	}
	limit = min(max(limit, 1), MaxList)
	err = s.Do(ctx, func() error {
		entries, next, err = s.backend.Files.List(ctx, directory, after, limit)
		return err
	})
	return entries, next, err
}

// List implements Files.
func (d *disk) List(_ context.Context, directory, after string, limit int) (entries []Entry, next string, err error) {
	root := d.root
	if directory != "" {
		f, err := d.openFolder(directory, false)
		if errors.Is(err, ErrExists) {
			err = fmt.Errorf("list folder: not a folder: %w", fs.ErrNotExist)
		}
		if err != nil {
			return nil, "", err
		}
		defer f.close()
		root = f.last().root
	}
	names, err := firstNames(root, after, limit+1)
	if err != nil {
		return nil, "", fmt.Errorf("list folder: %w", err)
	}
	if len(names) > limit {
		names = names[:limit]
		next = names[limit-1]
	}
	for _, name := range names {
		name = strings.TrimSuffix(name, "/")
		info, err := root.Lstat(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue // removed in the meantime
		case err != nil:
			return nil, "", fmt.Errorf("list folder: %w", err)
		case info.IsDir():
			entries = append(entries, Entry{Name: name, Folder: true, Modified: info.ModTime()})
		case info.Mode().IsRegular() && !isHidden(info):
			entries = append(entries, Entry{Name: name, Size: info.Size(), Modified: info.ModTime()})
		}
	}
	return entries, next, nil
}

// firstNames returns the n smallest names greater than after, sorted. The names of folders
// end with a slash.
func firstNames(root *os.Root, after string, n int) ([]string, error) {
	dir, err := openNames(root)
	if err != nil {
		return nil, err
	}
	defer func() { _ = dir.Close() }() // read only
	var names []string
	for {
		batch, err := dir.ReadDir(listBatch)
		for _, e := range batch {
			name := e.Name()
			kind := e.Type()
			if !kind.IsRegular() && !kind.IsDir() {
				continue
			}
			if kind.IsDir() {
				name += "/"
			}
			if name <= after {
				continue
			}
			at, _ := slices.BinarySearch(names, name)
			if at == n || nameProblem(e.Name()) != "" { // the second check takes longer
				continue
			}
			if len(names) == n {
				names = names[:n-1]
			}
			names = slices.Insert(names, at, name)
		}
		if errors.Is(err, io.EOF) {
			return names, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// openNames opens the folder for ReadDir. If a file was opened by an os.Root, ReadDir calls lstat
// for each name, which takes longer than reading the names.
func openNames(root *os.Root) (*os.File, error) {
	dir, err := root.Open(".")
	if err != nil {
		return nil, err
	}
	defer func() { _ = dir.Close() }() // read only
	fd, err := unix.FcntlInt(dir.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "dup", Path: dir.Name(), Err: err}
	}
	return os.NewFile(uintptr(fd), dir.Name()), nil
}
