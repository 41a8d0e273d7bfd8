package uploads

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
)

// Check reports whether a file could be published as directory/filename now. Call it
// before a body is read, so that the client does not send it in vain. Only Publish
// reserves the name.
//
// The error wraps ErrName for an unacceptable name, and ErrExists if the name is in
// use or a part of directory is a file. If the pool is full it is pool.ErrFull, at
// once.
func (s *Store) Check(ctx context.Context, directory, filename string) error {
	if err := CheckName(directory, filename); err != nil {
		return err
	}
	return s.Do(ctx, func() error { return s.check(directory, filename) })
}

// check is Check for a name that CheckName accepts, in the calling goroutine.
func (s *Store) check(directory, filename string) error {
	f, err := s.openFolder(directory, false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.close()
	switch _, err := f.last().root.Lstat(filename); {
	case err == nil:
		return existsError(directory, filename)
	case errors.Is(err, fs.ErrNotExist):
		return nil
	default:
		return s.mapError(fmt.Errorf("look for file: %w", err))
	}
}

func existsError(directory, filename string) error {
	return WithReason(ErrExists, directory+"/"+filename)
}
