package uploads

import (
	"context"
	"errors"
)

// Quota limits the sum of the sizes of files. Its methods may be called from several
// goroutines at once. Package quota has one. The id is that of the upload.
type Quota interface {
	// Check returns an error that wraps ErrQuota if a file of that size, in bytes, would
	// exceed a limit now. It reserves nothing.
	Check(ctx context.Context, p Permit, size int64) error
	// Add counts a file before it gets its name. If that would exceed a limit, the file is
	// not counted, and the error wraps ErrQuota. A second call with the same id replaces the
	// first one.
	Add(ctx context.Context, id string, p Permit, size int64) error
	// Cancel stops counting a file that has not got its name.
	Cancel(ctx context.Context, id string) error
	// Remove stops counting a file that has been removed.
	Remove(ctx context.Context, directory, filename string) error
}

// count counts a complete upload for Options.Quota.
func (p *publication) count(ctx context.Context) error {
	u := p.upload
	if u.store.options.Quota == nil {
		return nil
	}
	return u.store.options.Quota.Add(ctx, u.id, Permit{Directory: p.directory, Filename: p.filename, Subject: u.subject}, u.size)
}

// cancelCount undoes count for a file that is not stored.
func (p *publication) cancelCount(ctx context.Context) {
	s := p.upload.store
	if s.options.Quota == nil || p.mayBeStored() || errors.Is(p.err, ErrQuota) || errors.Is(p.err, errFinished) {
		return
	}
	if err := s.options.Quota.Cancel(ctx, p.upload.id); err != nil {
		s.log.WarnContext(ctx, "file that is not stored still counts for the quotas until they are counted again", "directory", p.directory, "filename", p.filename, "error", err)
	}
}

// uncount stops counting a removed file. An error is only logged: the count is too high until
// it is made again.
func (s *Store) uncount(ctx context.Context, directory, filename string) {
	if s.options.Quota == nil {
		return
	}
	if err := s.options.Quota.Remove(ctx, directory, filename); err != nil {
		s.log.WarnContext(ctx, "removed file still counts for the quotas until they are counted again", "directory", directory, "filename", filename, "error", err)
	}
}
