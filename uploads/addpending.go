package uploads

import (
	"context"
	"crypto/rand"
	"fmt"
)

// AddPending makes Run call Options.Stored for stored files, with a new id for each file. It
// is for files that did not get their name from this package, such as those of a backup. The
// error wraps fs.ErrNotExist if a file is not there; then nothing is recorded.
func (s *Store) AddPending(ctx context.Context, files ...File) error {
	records := make([]Pending, len(files))
	for i, f := range files {
		content, err := s.Open(f.Directory, f.Filename)
		if err != nil {
			return err
		}
		info := content.Info()
		if err := content.Close(); err != nil {
			return err
		}
		records[i] = Pending{
			ID: rand.Text(), Directory: f.Directory, Filename: f.Filename,
			Size: info.Size, Modified: info.Modified.UnixNano(), SHA256: info.SHA256,
		}
	}
	r, err := s.backend.Journal.Begin(ctx, records)
	if err != nil {
		return fmt.Errorf("add pending files: %w", err)
	}
	r.End(ctx, records)
	return nil
}
