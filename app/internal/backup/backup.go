// Package backup copies the data folder of a server while the server runs.
//
// The parts of the copy belong together: each task in it has its file, and the tasks of
// each file in it are accepted, or are accepted when a server starts on the copy. So the
// order of the steps matters (Write).
package backup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Names in a data folder.
const (
	tasksFile     = "jobs.db"
	uploadsFolder = "uploads"
	partsFolder   = "parts" // of files that are being received
)

// Source names the folders of the server.
type Source struct {
	Data    string // value of -data
	Uploads string // value of -upload-dir
}

// Report counts what a backup contains.
type Report struct {
	Tasks bool  // whether the folder has a task store
	Files int   // files, stored uploads included
	Bytes int64 // size of the files
}

// Write copies the folders into the new folder dir, and the uploads to "uploads" below it.
// Databases of SQLite, the task store among them, are copied by SQLite as they are at one
// moment. Unfinished uploads are not copied.
//
// The copy gets its name when it is complete and durable; after an error, nothing is left.
// If dir exists, the error wraps fs.ErrExist.
//
// The steps: (1) the uploads, which takes the most time; (2) those that were stored or
// removed meanwhile; (3) the records of uploads whose tasks are not accepted yet; (4) the
// tasks; (5) uploads that were stored since step 2, each with a new record, because its tasks
// may have been accepted before or after step 4; (6) all other files. Thus a server on the
// copy runs the tasks of an upload of step 5 once more at worst.
func Write(ctx context.Context, from Source, dir string) (r Report, err error) {
	dir = filepath.Clean(dir)
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		if err == nil {
			err = fmt.Errorf("%s: %w; give a new folder", dir, fs.ErrExist)
		}
		return r, err
	}
	partial, err := os.MkdirTemp(filepath.Dir(dir), "."+filepath.Base(dir)+".partial-")
	if err != nil {
		return r, fmt.Errorf("create backup: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(partial))
		}
	}()
	if r, err = write(ctx, from, partial); err != nil {
		return r, err
	}
	if err := syncFileSystem(partial); err != nil {
		return r, fmt.Errorf("sync backup: %w", err)
	}
	// rename(2) replaces an empty folder that was made meanwhile, and fails for any other.
	if err := os.Rename(partial, dir); err != nil {
		return r, fmt.Errorf("name backup: %w", err)
	}
	return r, syncFileSystem(filepath.Dir(dir))
}

func write(ctx context.Context, from Source, to string) (r Report, err error) {
	data, err := absolute(from.Data)
	if err != nil {
		return r, err
	}
	uploads, err := copyUploads(ctx, from.Uploads, filepath.Join(to, uploadsFolder), func() error {
		db := filepath.Join(data, tasksFile)
		if _, err := os.Lstat(db); err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil // the tasks are in Redis, or the server has not started yet
			}
			return err
		}
		r.Tasks = true
		return copyDatabase(ctx, db, filepath.Join(to, tasksFile))
	})
	if err != nil {
		return r, err
	}
	rest, err := copyRest(ctx, data, from.Uploads, to)
	r.Files, r.Bytes = uploads.files+rest.files, uploads.bytes+rest.bytes
	return r, err
}

// copyRest copies the files of the data folder except the tasks, the uploads, and files that
// are being received.
func copyRest(ctx context.Context, data, uploads, to string) (counts, error) {
	c, err := newCopier(ctx, data, to)
	if err != nil {
		return counts{}, err
	}
	defer c.close()
	except, _ := absolute(uploads) // without such a folder, the name is compared with nothing
	err = c.tree(func(name string, isDir bool) bool {
		if isDir {
			return name != partsFolder && filepath.Join(data, name) != except
		}
		return !strings.HasPrefix(name, tasksFile)
	}, nil)
	return c.counts, err
}

// absolute returns the path of an existing folder, absolute and without symbolic links.
func absolute(path string) (string, error) {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", err
	}
	return filepath.Abs(path)
}

// syncFileSystem makes everything on the file system of a folder durable (syncfs(2)).
func syncFileSystem(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // opened for reading only
	return unix.Syncfs(int(f.Fd()))
}
