package uploads

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
)

// Check reports whether a file could be published as directory/filename now. Call it
// before a body is read, so that the client need not send a body that would be refused.
// It does not reserve the name: Publish may still return ErrExists.
//
// The error wraps ErrName for an unacceptable name, and ErrExists if the name is in
// use or a component of directory is a file. If the pool is full, Check does not wait: the
// error is pool.ErrFull.
func (s *Store) Check(ctx context.Context, directory, filename string) error {
	if err := CheckName(directory, filename); err != nil {
		return err
	}
	return s.Do(ctx, func() error { return s.backend.Files.Check(ctx, directory, filename) })
}

// Check implements Files.
func (d *disk) Check(_ context.Context, directory, filename string) error {
	f, err := d.openFolder(directory, false)
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
		return d.mapError(fmt.Errorf("look for file: %w", err))
	}
}

func existsError(directory, filename string) error {
	return WithReason(ErrExists, directory+"/"+filename)
}
