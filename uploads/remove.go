package uploads

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
)

// Remove removes a stored file, in the pool; its directory stays. What is not
// there, or is no regular file, is no error and stays as it is; the error wraps
// ErrName for an unacceptable name or a symbolic link in it. A full pool is
// pool.ErrFull at once.
func (s *Store) Remove(ctx context.Context, directory, filename string) error {
	return s.admit(ctx, func() error {
		f, _, err := s.find(directory, filename)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		defer f.close()
		if err := f.last().root.Remove(filename); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove file: %w", err)
		}
		return f.sync()
	})
}
