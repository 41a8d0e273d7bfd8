package process

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Folder is a folder that belongs to this process. The process holds a lock on it (flock(2)),
// which the kernel releases when the process ends, even by kill -9. A folder without a lock is
// therefore a leftover.
type Folder struct {
	// Path is the path of the folder.
	Path string
	lock *os.File
}

// NewFolder makes a folder in parent and locks it. Its name begins with prefix.
func NewFolder(parent, prefix string) (Folder, error) {
	for {
		path, err := os.MkdirTemp(parent, prefix)
		if err != nil {
			return Folder{}, err
		}
		lock, err := lockFolder(path, 0)
		if errors.Is(err, os.ErrNotExist) {
			continue // Sweep has removed the folder, which had no lock yet
		}
		if err != nil {
			return Folder{}, errors.Join(fmt.Errorf("lock folder: %w", err), os.RemoveAll(path))
		}
		return Folder{path, lock}, nil
	}
}

// Remove removes the folder with its content and releases the lock.
func (f Folder) Remove() error {
	return errors.Join(os.RemoveAll(f.Path), f.lock.Close())
}

// Sweep removes the folders in parent, with names that begin with prefix, that processes
// left which were killed. It calls clean for each before. Folders of running processes
// and of other users are not touched. The error joins those of all folders.
func Sweep(parent, prefix string, clean func(path string) error) (err error) {
	found, err := os.ReadDir(parent)
	if err != nil {
		return fmt.Errorf("list folders of killed processes: %w", err)
	}
	for _, entry := range found {
		if !strings.HasPrefix(entry.Name(), prefix) {
			continue
		}
		path := filepath.Join(parent, entry.Name())
		lock, lockErr := lockFolder(path, unix.LOCK_NB)
		if lockErr != nil {
			continue // in use, removed, or of another user
		}
		err = errors.Join(err, clean(path), Folder{path, lock}.Remove())
	}
	return err
}

// lockFolder locks a folder of this user. how is 0 or LOCK_NB. The error wraps
// os.ErrNotExist if there is no such folder. With LOCK_NB it is EWOULDBLOCK if another
// process holds the lock.
func lockFolder(path string, how int) (*os.File, error) {
	lock, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	var info unix.Stat_t
	if err = unix.Flock(int(lock.Fd()), unix.LOCK_EX|how); err == nil {
		err = unix.Fstat(int(lock.Fd()), &info)
	}
	switch {
	case err != nil:
	case info.Nlink == 0:
		err = os.ErrNotExist // removed while Flock waited
	case int(info.Uid) != os.Geteuid():
		err = os.ErrPermission
	}
	if err != nil {
		_ = lock.Close()
		return nil, err
	}
	return lock, nil
}
