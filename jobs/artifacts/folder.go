package artifacts

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/uploads"
)

// expireBatch is the number of directory entries that Expire reads at a time.
const expireBatch = 256

// Folder stores the files of tasks in a folder, in one subfolder for each task id.
type Folder struct {
	root *os.Root
}

var _ Files = (*Folder)(nil)

// Open opens the folder and creates it if it does not exist.
func Open(dir string) (*Folder, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open artifacts: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open artifacts: %w", err)
	}
	return &Folder{root}, nil
}

// Close implements Files.
func (a *Folder) Close() error { return a.root.Close() }

// content is an open file of a Folder.
type content struct {
	*os.File
	info uploads.Info
}

// Info implements uploads.Content.
func (c content) Info() uploads.Info { return c.info }

// Open implements Files.
func (a *Folder) Open(_ context.Context, id, name string) (uploads.Content, error) {
	if !jobs.ValidID(id) || !validArtifact(name) {
		return nil, fmt.Errorf("open artifact: %w", fs.ErrNotExist)
	}
	f, err := a.root.Open(path.Join(id, name))
	if err != nil {
		return nil, fmt.Errorf("open artifact: %w", err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("open artifact: not a regular file: %w", fs.ErrNotExist)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return content{f, uploads.Info{Size: info.Size(), Modified: info.ModTime()}}, nil
}

// file is a file of a Folder that is being written. It has a temporary name until Close.
type file struct {
	root     *os.Root
	dir      string // subfolder of the task
	tmp, dst string // temporary and final path

	mu     sync.Mutex
	file   *os.File // nil after the end
	failed error    // error of a failed Write
}

// Create implements Files.
func (a *Folder) Create(_ context.Context, id, name string, attempt int) (Writer, error) {
	if !validArtifact(name) {
		return nil, ErrName
	}
	if err := a.root.MkdirAll(id, 0o700); err != nil {
		return nil, fmt.Errorf("create artifact: %w", err)
	}
	w := &file{root: a.root, dir: id, dst: path.Join(id, name)}
	w.tmp = path.Join(id, fmt.Sprintf(".%s.%d", name, attempt))
	var err error
	if w.file, err = a.root.OpenFile(w.tmp, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600); err != nil {
		return nil, fmt.Errorf("create artifact: %w", err)
	}
	return w, nil
}

// Write implements Writer.
func (w *file) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.file == nil {
		return 0, errEnded
	}
	n, err := w.file.Write(p)
	if err != nil {
		w.failed = err
	}
	return n, err
}

// Close implements Writer. It syncs the file to disk and renames it to its final name.
func (w *file) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := w.file
	if f == nil {
		return errEnded
	}
	w.file = nil
	err := w.failed
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = w.root.Rename(w.tmp, w.dst)
	}
	if err != nil {
		_ = w.root.Remove(w.tmp)
		return fmt.Errorf("write artifact: %w", err)
	}
	if err := syncDir(w.root, w.dir); err != nil {
		return fmt.Errorf("write artifact: %w", err)
	}
	return nil
}

// Discard implements Writer.
func (w *file) Discard() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.file == nil {
		return
	}
	_ = w.file.Close() // the file is removed
	w.file = nil
	_ = w.root.Remove(w.tmp) // Clean removes it otherwise
}

// Clean implements Files.
func (a *Folder) Clean(id string) {
	dir, err := a.root.Open(id)
	if err != nil {
		return // most tasks have no artifacts
	}
	defer dir.Close() //nolint:errcheck // read only
	names, _ := dir.Readdirnames(-1)
	for _, name := range names {
		if strings.HasPrefix(name, ".") {
			_ = a.root.Remove(path.Join(id, name))
		}
	}
}

// Expire implements Files. It skips the subfolders that are not old enough, and entries
// that are not the subfolder of a task.
func (a *Folder) Expire(ctx context.Context, old time.Time, gone func(id string) (bool, error)) (tasks int, err error) {
	dir, err := a.root.Open(".")
	if err != nil {
		return 0, fmt.Errorf("list artifacts: %w", err)
	}
	defer dir.Close() //nolint:errcheck // read only
	for {
		entries, readErr := dir.ReadDir(expireBatch)
		for _, entry := range entries {
			if ctx.Err() != nil {
				return tasks, context.Cause(ctx)
			}
			remove, err := expired(entry, old)
			if err == nil && remove {
				remove, err = gone(entry.Name())
			}
			if err == nil && remove {
				err = a.root.RemoveAll(entry.Name())
			}
			if err != nil {
				return tasks, fmt.Errorf("remove artifacts of %s: %w", entry.Name(), err)
			}
			if remove {
				tasks++
			}
		}
		if readErr != nil || len(entries) == 0 {
			return tasks, nil
		}
	}
}

// expired reports whether the entry is the subfolder of a task that was last changed
// before old.
func expired(entry fs.DirEntry, old time.Time) (bool, error) {
	if !entry.IsDir() || !jobs.ValidID(entry.Name()) {
		return false, nil
	}
	info, err := entry.Info()
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && info.ModTime().Before(old), err
}

// syncDir makes a rename in dir durable, see fsync(2).
func syncDir(root *os.Root, dir string) error {
	d, err := root.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
