package artifacts

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"regexp"
	"strings"

	"github.com/galeserver/gale/jobs"
)

// ErrName is the error of Create for an invalid name of an artifact.
var ErrName = errors.New("invalid artifact name: 1 to 128 letters, digits, dots, underscores and hyphens, no leading dot")

// Folder stores the files of tasks, in one subfolder for each task id.
type Folder struct {
	root *os.Root
}

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

// Close closes the folder.
func (a *Folder) Close() error { return a.root.Close() }

// Open opens a file of a task for reading. Errors wrap fs.ErrNotExist, also if the id or
// name is invalid.
func (a *Folder) Open(id, name string) (*os.File, error) {
	if !jobs.ValidID(id) || !validArtifact(name) {
		return nil, fmt.Errorf("open artifact: %w", fs.ErrNotExist)
	}
	f, err := a.root.Open(path.Join(id, name))
	if err != nil {
		return nil, fmt.Errorf("open artifact: %w", err)
	}
	return f, nil
}

// Writer is a file that is being written. Discard, instead of Close, removes it.
type Writer interface {
	io.WriteCloser
	Discard()
}

// artifact is a file that is being written. Close renames it to its final name.
type artifact struct {
	*os.File
	root     *os.Root
	dir      string // subfolder of the task
	tmp, dst string // temporary and final path
	closed   func() // called by Close after the rename
	failed   error  // error of a failed Write
}

// Create creates a file of a task. Close of the returned writer makes it visible to Open:
// until then the file has a temporary name. If Close succeeds, it calls closed before it
// returns. The error wraps ErrName if the name is invalid.
func (a *Folder) Create(id, name string, attempt int, closed func()) (Writer, error) {
	if !validArtifact(name) {
		return nil, ErrName
	}
	if err := a.root.MkdirAll(id, 0o700); err != nil {
		return nil, fmt.Errorf("create artifact: %w", err)
	}
	w := &artifact{root: a.root, dir: id, dst: path.Join(id, name), closed: closed}
	w.tmp = path.Join(id, fmt.Sprintf(".%s.%d", name, attempt))
	var err error
	if w.File, err = a.root.OpenFile(w.tmp, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600); err != nil {
		return nil, fmt.Errorf("create artifact: %w", err)
	}
	return w, nil
}

// Write writes to the file. If it fails, Close removes the file instead of publishing a
// partial one.
func (w *artifact) Write(p []byte) (int, error) {
	n, err := w.File.Write(p)
	if err != nil {
		w.failed = err
	}
	return n, err
}

// Discard removes the file. It is called instead of Close.
func (w *artifact) Discard() {
	w.failed = cmp.Or(w.failed, errDiscarded)
	_ = w.Close()
}

var errDiscarded = errors.New("discarded")

// Close syncs the file to disk and renames it to its final name.
func (w *artifact) Close() error {
	err := w.failed
	if err == nil {
		err = w.Sync()
	}
	err = errors.Join(err, w.File.Close())
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
	w.closed()
	return nil
}

// Clean removes the partial files of a task, which are leftovers of killed attempts. It must
// not be called while an attempt of the task is running.
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

// syncDir makes a rename in dir durable, see fsync(2).
func syncDir(root *os.Root, dir string) error {
	d, err := root.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

var namePattern = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$`)

func validArtifact(name string) bool {
	return namePattern.MatchString(name)
}
