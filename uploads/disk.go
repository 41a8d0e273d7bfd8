package uploads

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"time"
)

// disk keeps the files of a store in a folder. It implements Files and Journal. Its
// methods do not check the context: they only wait for the disk.
type disk struct {
	log            *slog.Logger
	root           *os.Root
	sys            syscalls
	useTemporaries bool  // true if the file system does not support O_TMPFILE
	errEscapes     error // error of os.Root for a path that leads out of the root
}

// openDisk opens the folder dir, and creates it with its parents if it is missing.
func openDisk(dir string, log *slog.Logger, sys syscalls) (*disk, error) {
	if err := os.MkdirAll(dir, folderMode); err != nil {
		return nil, fmt.Errorf("make upload folder: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open upload folder: %w", err)
	}
	d := &disk{log: logger(log), root: root, sys: sys}
	if path, ok := errors.AsType[*fs.PathError](escapeError(root)); ok {
		d.errEscapes = path.Err
	}
	if err = d.sweep(); err == nil {
		err = d.probe()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("check upload folder %s: %w", dir, err), root.Close())
	}
	return d, nil
}

// escapeError returns the error of os.Root for a path that leads out of the root. The
// os package does not export it.
func escapeError(root *os.Root) error {
	_, err := root.Lstat("..")
	return err
}

// diskFile is a file that is being written to a disk. It implements Writer.
type diskFile struct {
	disk        *disk
	file        *os.File
	temporary   string // path of the file in the root; empty if it is unnamed
	callersFile bool   // file and temporary belong to the caller of Store.Resume
	size        int64  // bytes
	modified    time.Time
	synced      bool // true if everything written is durable
}
