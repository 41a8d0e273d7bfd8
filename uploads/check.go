package uploads

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
)

// Check looks, before a body is read, whether a file could be published as
// directory/filename: the name is acceptable (else ErrName), and neither it nor
// a file in the place of its directory exists (else ErrExists). It is a
// courtesy to the sender; Publish decides. A full pool is pool.ErrFull at once.
func (s *Store) Check(ctx context.Context, directory, filename string) error {
	if err := CheckName(directory, filename); err != nil {
		return err
	}
	return s.Do(ctx, func() error { return s.check(directory, filename) })
}

// check is Check for an acceptable name, in the caller's goroutine.
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
