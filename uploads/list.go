package uploads

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"time"
)

// MaxList is how many entries List returns at most.
const MaxList = 1000

// listBatch is how many entries are read from a folder at once.
const listBatch = 256

// Entry is what List finds: a stored file, or a folder.
type Entry struct {
	Name     string
	Folder   bool
	Size     int64 // bytes; 0 for a folder
	Modified time.Time
}

// List returns the files and folders in directory that come after the name
// after, in the order of their bytes, at most limit of them (1 to MaxList), and
// what after must be for those that follow, or "" if there are none. The empty
// directory is the store itself. Whatever has
// no acceptable name, is a link or no regular file is left out. It runs in the
// pool and holds no more than limit entries, however many there are.
//
// The error wraps ErrName for an unacceptable name or a symbolic link in it, and
// fs.ErrNotExist if there is no such folder. A full pool is pool.ErrFull at once.
func (s *Store) List(ctx context.Context, directory, after string, limit int) (entries []Entry, next string, err error) {
	limit = min(max(limit, 1), MaxList)
	err = s.Do(ctx, func() error {
		entries, next, err = s.list(directory, after, limit)
		return err
	})
	return entries, next, err
}

func (s *Store) list(directory, after string, limit int) (entries []Entry, next string, err error) {
	root := s.root
	if directory != "" {
		if err := CheckName(directory, "any"); err != nil {
			return nil, "", err
		}
		f, err := s.openFolder(directory, false)
		if errors.Is(err, ErrExists) {
			err = fmt.Errorf("list folder: no folder: %w", fs.ErrNotExist)
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
		info, err := root.Lstat(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue // removed meanwhile
		case err != nil:
			return nil, "", fmt.Errorf("list folder: %w", err)
		case info.IsDir():
			entries = append(entries, Entry{Name: name, Folder: true, Modified: info.ModTime()})
		case info.Mode().IsRegular():
			entries = append(entries, Entry{Name: name, Size: info.Size(), Modified: info.ModTime()})
		}
	}
	return entries, next, nil
}

// firstNames returns the first n names after a name, sorted.
func firstNames(root *os.Root, after string, n int) ([]string, error) {
	dir, err := root.Open(".")
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
			if name <= after || !kind.IsRegular() && !kind.IsDir() || nameProblem(name) != "" {
				continue
			}
			at, _ := slices.BinarySearch(names, name)
			if at == n {
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
