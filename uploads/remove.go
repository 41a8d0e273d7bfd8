package uploads

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
)

// Remove removes a stored file, in the pool, and the folders that are empty
// behind it. What is not there, or is no regular file, is no error and stays as
// it is; the error wraps ErrName for an unacceptable name or a symbolic link in
// it. A full pool is pool.ErrFull at once.
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
			return nil // another was quicker, and tidies up
		}
		if err != nil {
			return fmt.Errorf("remove file: %w", err)
		}
		s.log.InfoContext(ctx, "file removed", "directory", directory, "filename", filename)
		// An upload that is about to use one of them makes it anew (maxAttempts).
		f.prune(func(level) bool { return true })
		// A folder that another Remove took meanwhile is synced by that one.
		if err := f.sync(); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	})
}
