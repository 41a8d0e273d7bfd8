package history

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"

	"golang.org/x/sys/unix"
)

// errInUse: another server keeps its history in the file.
var errInUse = errors.New("another server uses the file; give each server a -data of its own")

// file is the file of a history. The server that writes it holds a lock (flock(2)) on it, so
// that two servers with the same -data do not overwrite the file of each other. The lock
// ends with the process, also after a kill. An error of the file never stops the server, and
// is logged once until the file can be written again.
type file struct {
	path   string
	log    *slog.Logger
	locked *os.File // the present file; nil: not locked
	failed bool     // the last error was logged
}

// read returns the content of the file. It is empty if there is none or it cannot be read.
func (f *file) read() []byte {
	err := f.lock(0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if errors.Is(err, errForeign) {
		f.putAside(err)
		return nil
	}
	var text []byte
	if err == nil {
		text, err = io.ReadAll(io.LimitReader(f.locked, maxSize+1))
	}
	if err != nil {
		f.fail("cannot read the history of an earlier run", err)
		return nil
	}
	return text
}

// lock opens the file and locks it. create is os.O_CREATE or 0.
func (f *file) lock(create int) error {
	if f.locked != nil {
		return nil
	}
	opened, err := os.OpenFile(f.path, os.O_RDWR|unix.O_NOFOLLOW|unix.O_NONBLOCK|create, 0o600)
	if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.EISDIR) || errors.Is(err, unix.ENXIO) {
		return fmt.Errorf("%w: %w", errForeign, err)
	}
	if err != nil {
		return err
	}
	if err := lockOpened(opened, f.path); err != nil {
		return errors.Join(err, opened.Close())
	}
	f.locked = opened
	return nil
}

// lockOpened locks an open file. The owner of the lock may have replaced the file meanwhile;
// the lock is then of no use.
func lockOpened(opened *os.File, path string) error {
	if err := unix.Flock(int(opened.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			return errInUse
		}
		return os.NewSyscallError("flock", err)
	}
	return isAt(opened, path)
}

// isAt returns an error if path does not lead to the open file, or if that is not a regular
// file.
func isAt(opened *os.File, path string) error {
	has, err := opened.Stat()
	if err != nil {
		return err
	}
	is, err := os.Lstat(path)
	switch {
	case err != nil:
		return err
	case !has.Mode().IsRegular():
		return errForeign
	case !os.SameFile(has, is):
		return errInUse
	}
	return nil
}

// save replaces the content of the file: after a crash it has the old or the new content.
func (f *file) save(text []byte) {
	if err := f.replace(text); err != nil {
		f.fail("cannot write the history, it is kept in memory only", err)
		return
	}
	if f.failed {
		f.log.Info("history is written again", "file", f.path)
	}
	f.failed = false
}

func (f *file) replace(text []byte) error {
	if f.locked != nil && isAt(f.locked, f.path) != nil {
		f.close() // the file was removed or replaced
	}
	err := f.lock(os.O_CREATE)
	if errors.Is(err, errForeign) {
		f.putAside(err)
		err = f.lock(os.O_CREATE)
	}
	if err != nil {
		return err
	}
	name := f.path + ".new"
	next, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	_, err = next.Write(text)
	if err == nil {
		err = next.Sync()
	}
	if err == nil {
		err = os.NewSyscallError("flock", unix.Flock(int(next.Fd()), unix.LOCK_EX|unix.LOCK_NB))
	}
	if err == nil {
		err = os.Rename(name, f.path)
	}
	if err != nil {
		return errors.Join(err, next.Close(), os.Remove(name))
	}
	f.close()
	f.locked = next
	return nil
}

// putAside renames a file that this release cannot read, so that it is not overwritten.
func (f *file) putAside(why error) {
	kept := f.path + ".unreadable"
	f.close()
	if err := os.Rename(f.path, kept); err != nil {
		f.fail("cannot rename a history file that is not readable", errors.Join(why, err))
		return
	}
	f.log.Warn("history file is not readable, the history begins anew", "error", why, "file", f.path, "kept_as", kept)
}

// fail logs an error, unless the last one was logged.
func (f *file) fail(what string, err error) {
	if !f.failed {
		f.log.Warn(what, "file", f.path, "error", err)
	}
	f.failed = true
}

// close ends the lock.
func (f *file) close() {
	if f.locked != nil {
		_ = f.locked.Close() // was synced
		f.locked = nil
	}
}
