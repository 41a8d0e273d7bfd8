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
	if err := CheckName(directory, filename); err != nil {
		return err
	}
	return s.Do(ctx, func() error {
		err := s.backend.Files.Remove(ctx, directory, filename)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil {
			s.uncount(ctx, directory, filename)
			s.log.InfoContext(ctx, "file removed", "directory", directory, "filename", filename)
		}
		return err
	})
}

// Remove implements Files.
func (d *disk) Remove(_ context.Context, directory, filename string) error {
	f, _, err := d.findFile(directory, filename)
	if err != nil {
		return err
	}
	defer f.close()
	// If another call has removed the file, that call also removes the folders.
	if err := f.last().root.Remove(filename); err != nil {
		return fmt.Errorf("remove file: %w", err)
	}
	// An upload that is about to use one of them creates it again (maxAttempts).
	f.prune(func(level) bool { return true })
	// fs.ErrNotExist: another Remove has removed the folder, and syncs the one above.
	if err := f.sync(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
