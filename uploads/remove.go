package uploads

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
)

// Remove removes a stored file, and the folders above it that are empty then. If there
// is no such regular file, Remove does nothing and returns nil. The error wraps ErrName
// for an unacceptable name or one that contains a symbolic link. Remove runs in the
// pool. If that is full, Remove does not wait: the error is pool.ErrFull.
func (s *Store) Remove(ctx context.Context, directory, filename string) error {
	return s.Do(ctx, func() error {
		f, _, err := s.findFile(directory, filename)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		defer f.close()
		err = f.last().root.Remove(filename)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // removed by another call, which also removes the folders
		}
		if err != nil {
			return fmt.Errorf("remove file: %w", err)
		}
		s.log.InfoContext(ctx, "file removed", "directory", directory, "filename", filename)
		// An upload that is about to use one of them creates it again (maxAttempts).
		f.prune(func(level) bool { return true })
		// fs.ErrNotExist: another Remove has removed the folder, and syncs the one above.
		if err := f.sync(); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	})
}
