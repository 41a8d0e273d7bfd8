package uploads

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// incoming is the folder of named temporaries, in the root. It begins with a
// dot, so no upload can have a name in it.
const incoming = ".incoming"

// temporary makes a file in a folder of the root and locks it for as long as it is
// open: to a sweeper an unlocked one is a dead process's. A sweeper may come between
// the file's creation and its lock; then another is made.
func (s *Store) createTemporary(folder string) (*os.File, string, error) {
	for {
		name := folder + "/" + rand.Text()
		f, err := s.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
		if errors.Is(err, fs.ErrNotExist) {
			if err = s.makeFolder(folder); err == nil {
				continue
			}
		}
		if err != nil {
			return nil, "", err
		}
		locked, err := s.lockTemporary(f)
		if locked {
			return f, name, nil
		}
		_ = f.Close() // nothing was written
		if err != nil {
			return nil, "", errors.Join(err, s.root.Remove(name))
		}
	}
}

// claim locks a new temporary and reports whether it is there to stay: not if a
// sweeper has the lock, or had it and took the file's name.
func (s *Store) lockTemporary(f *os.File) (bool, error) {
	err := s.sys.lock(f)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("lock temporary: %w", err)
	}
	var stat unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &stat); err != nil {
		return false, fmt.Errorf("stat temporary: %w", err)
	}
	return stat.Nlink > 0, nil
}

// makeFolder makes a folder of the store's own in the root, durably.
func (s *Store) makeFolder(name string) error {
	if err := s.root.Mkdir(name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return (&folder{store: s, levels: []level{{root: s.root}}}).sync()
}

// sweep removes the temporaries whose writers were killed. Other processes may
// have the same folder open and be writing into it: what they write is locked.
func (s *Store) sweep() error {
	info, err := s.root.Lstat(incoming)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && !info.IsDir() {
		err = errors.New("it is not a folder")
	}
	if err != nil {
		return fmt.Errorf("open %s: %w", incoming, err)
	}
	entries, err := fs.ReadDir(s.root.FS(), incoming)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue // none of ours
		}
		if err := s.sweepOne(incoming + "/" + e.Name()); err != nil {
			s.log.Warn("temporary not removed", "file", e.Name(), "error", err)
		}
	}
	return nil
}

func (s *Store) sweepOne(name string) error {
	// For writing, as NFS wants it for an exclusive lock (flock(2)); without
	// waiting, should it be a fifo by now.
	f, err := s.root.OpenFile(name, os.O_RDWR|unix.O_NONBLOCK, 0)
	if err == nil {
		defer func() { _ = f.Close() }()
		err = s.sys.lock(f)
	}
	if err == nil {
		err = s.root.Remove(name)
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.EWOULDBLOCK) {
		return nil // finished meanwhile, or alive
	}
	return err
}

// probe finds out how files get their names here, and that they can. A full
// disk proves nothing either way and is no failure.
func (s *Store) probe() error {
	unnamed := s.tryNaming()
	if unnamed == nil || isDiskFull(unnamed) {
		return nil
	}
	s.useTemporaries = true
	if err := s.tryNaming(); err != nil && !isDiskFull(err) {
		return fmt.Errorf("no file can be made and named there: %w", err)
	}
	s.log.Info("upload folder has no unnamed files, named temporaries instead", "error", unnamed)
	return nil
}

// try makes a file, names it and removes it again, all in incoming.
func (s *Store) tryNaming() error {
	u, err := s.newUpload()
	if err != nil {
		return err
	}
	defer u.Discard()
	if err := s.makeFolder(incoming); err != nil {
		return err
	}
	dir, err := s.root.Open(incoming)
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	name := rand.Text()
	if err := u.link(dir, name); err != nil {
		return err
	}
	// Not there any more if another process has swept it.
	if err := s.root.Remove(incoming + "/" + name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
