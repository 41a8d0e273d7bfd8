package uploads

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// incoming is the folder in the root for temporary files. CheckName accepts no name
// that begins with a dot, so no upload can be published in it.
const incoming = ".incoming"

// createTemporary creates a file in a folder of the root and locks it until it is
// closed. Sweeps remove files without a lock. If a sweep of another process removes the
// file before it is locked, createTemporary creates another one.
func (d *disk) createTemporary(folder string) (*os.File, string, error) {
	for {
		name := folder + "/" + rand.Text()
		f, err := d.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
		if errors.Is(err, fs.ErrNotExist) {
			if err = d.makeFolder(folder); err == nil {
				continue
			}
		}
		if err != nil {
			return nil, "", err
		}
		locked, err := d.lockTemporary(f)
		if locked {
			return f, name, nil
		}
		_ = f.Close() // nothing was written
		if err != nil {
			return nil, "", errors.Join(err, d.root.Remove(name))
		}
	}
}

// lockTemporary locks a new temporary file. It reports false if a sweep of another
// process holds the lock, or has removed the file already.
func (d *disk) lockTemporary(f *os.File) (bool, error) {
	err := d.sys.lock(f)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("lock temporary file: %w", err)
	}
	var stat unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &stat); err != nil {
		return false, fmt.Errorf("stat temporary file: %w", err)
	}
	return stat.Nlink > 0, nil
}

// makeFolder creates a folder in the root for the store's own files and syncs the root.
func (d *disk) makeFolder(name string) error {
	if err := d.root.Mkdir(name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return (&folder{disk: d, levels: []level{{root: d.root}}}).sync()
}

// sweep removes the temporary files of killed processes. Files that other processes are
// writing are locked, so they are not removed.
func (d *disk) sweep() error {
	info, err := d.root.Lstat(incoming)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && !info.IsDir() {
		err = errors.New("not a folder")
	}
	if err != nil {
		return fmt.Errorf("open %s: %w", incoming, err)
	}
	entries, err := fs.ReadDir(d.root.FS(), incoming)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue // not made by a store
		}
		if err := d.sweepOne(incoming + "/" + e.Name()); err != nil {
			d.log.Warn("temporary file not removed", "file", e.Name(), "error", err)
		}
	}
	return nil
}

func (d *disk) sweepOne(name string) error {
	// O_RDWR: on NFS an exclusive lock needs a file opened for writing (flock(2)).
	// O_NONBLOCK: the file may have been replaced by a FIFO, and opening that blocks.
	f, err := d.root.OpenFile(name, os.O_RDWR|unix.O_NONBLOCK, 0)
	if err == nil {
		defer func() { _ = f.Close() }()
		err = d.sys.lock(f)
	}
	if err == nil {
		err = d.root.Remove(name)
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.EWOULDBLOCK) {
		return nil // the upload has ended in the meantime, or its process is running
	}
	return err
}

// probe tests whether files can be created and named in the folder, with O_TMPFILE or
// with temporary files. On a full disk this cannot be tested; then probe returns nil.
func (d *disk) probe() error {
	unnamed := d.tryNaming()
	if unnamed == nil || isDiskFull(unnamed) {
		return nil
	}
	d.useTemporaries = true
	if err := d.tryNaming(); err != nil && !isDiskFull(err) {
		return fmt.Errorf("create and link a file: %w", err)
	}
	d.log.Info("upload folder does not support O_TMPFILE, using temporary files in "+incoming, "error", unnamed)
	return nil
}

// tryNaming creates a file, names it in incoming and removes it again.
func (d *disk) tryNaming() error {
	f, err := d.create()
	if err != nil {
		return err
	}
	defer f.Close()
	if err := d.makeFolder(incoming); err != nil {
		return err
	}
	dir, err := d.root.Open(incoming)
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	name := rand.Text()
	if err := f.link(dir, name); err != nil {
		return err
	}
	// A sweep of another process may have removed it.
	if err := d.root.Remove(incoming + "/" + name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
