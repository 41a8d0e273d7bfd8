package uploads

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// Open opens a stored file for reading, in the calling goroutine. The error wraps
// ErrName for an unacceptable name or one that contains a symbolic link, and
// fs.ErrNotExist if there is no such regular file. The Name of the returned file is
// its path.
func (s *Store) Open(directory, filename string) (*os.File, error) {
	f, info, err := s.findFile(directory, filename)
	if err != nil {
		return nil, err
	}
	defer f.close()
	// O_NONBLOCK: the file may have been replaced by a FIFO, and opening that blocks.
	file, err := f.last().root.OpenFile(filename, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, s.mapError(fmt.Errorf("open file: %w", err))
	}
	opened, err := file.Stat()
	if err == nil && !os.SameFile(info, opened) {
		err = fmt.Errorf("open file: replaced by another file: %w", fs.ErrNotExist)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// findFile opens the directory of a regular file. Its errors are those of Open.
func (s *Store) findFile(directory, filename string) (*folder, fs.FileInfo, error) {
	if err := CheckName(directory, filename); err != nil {
		return nil, nil, err
	}
	f, err := s.openFolder(directory, false)
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
		return nil, nil, s.mapError(err)
	}
	return f, info, nil
}
