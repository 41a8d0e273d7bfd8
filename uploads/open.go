package uploads

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// Open opens a stored file for reading, in the calling goroutine. The error wraps
// ErrName for an unacceptable name or one that contains a symbolic link,
// ErrUnavailable, or fs.ErrNotExist if there is no such regular file.
func (s *Store) Open(directory, filename string) (Content, error) {
	if err := CheckName(directory, filename); err != nil {
		return nil, err
	}
	return s.backend.Files.Open(context.Background(), directory, filename)
}

// diskContent is an open file of a disk. It implements Content.
type diskContent struct {
	*os.File
	info Info
}

func (c diskContent) Info() Info { return c.info }

// Open implements Files.
func (d *disk) Open(_ context.Context, directory, filename string) (Content, error) {
	f, err := d.open(directory, filename, false)
	if err != nil {
		return nil, err
	}
	return f, nil
}

// open opens a file. hidden is true if it may be one in quarantine.
func (d *disk) open(directory, filename string, hidden bool) (c diskContent, err error) {
	f, info, err := d.findFile(directory, filename)
	if err != nil {
		return c, err
	}
	defer f.close()
	// O_NONBLOCK: the file may have been replaced by a FIFO, and opening that blocks.
	file, err := f.last().root.OpenFile(filename, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return c, d.mapError(fmt.Errorf("open file: %w", err))
	}
	opened, err := file.Stat()
	if err == nil && !os.SameFile(info, opened) {
		err = fmt.Errorf("open file: replaced by another file: %w", fs.ErrNotExist)
	}
	if err == nil && !hidden && isHidden(opened) {
		err = fmt.Errorf("open file: in quarantine: %w", fs.ErrNotExist)
	}
	if err != nil {
		return c, errors.Join(err, file.Close())
	}
	return diskContent{file, Info{Size: opened.Size(), Modified: opened.ModTime(), SHA256: d.storedSum(file, opened)}}, nil
}

// findFile opens the directory of a regular file. Its errors are those of Open.
func (d *disk) findFile(directory, filename string) (*folder, fs.FileInfo, error) {
	f, err := d.openFolder(directory, false)
	if errors.Is(err, ErrExists) {
		return nil, nil, fmt.Errorf("find file: %w", fs.ErrNotExist)
	}
	if err != nil {
		return nil, nil, err
	}
	info, err := f.last().root.Lstat(filename)
	switch {
	case err != nil:
		err = fmt.Errorf("find file: %w", err)
	case info.Mode().Type() == fs.ModeSymlink:
		err = WithReason(ErrName, "the file is a symbolic link")
	case !info.Mode().IsRegular():
		err = fmt.Errorf("find file: not a regular file: %w", fs.ErrNotExist)
	}
	if err != nil {
		f.close()
		return nil, nil, d.mapError(err)
	}
	return f, info, nil
}
