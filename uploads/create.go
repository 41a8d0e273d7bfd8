package uploads

import (
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"os"
)

// Upload is a file being written, without a name until Publish. Its methods
// are for one goroutine at a time. Whoever made it discards it in the end;
// after a successful Publish that does nothing.
type Upload struct {
	store     *Store
	file      *os.File
	temporary string // path in the root; empty for an unnamed file
	hash      hash.Hash
	size      int64
	synced    bool
	err       error // ends the upload: its content is not what was sent
}

// Create begins a file. It returns pool.ErrFull at once if the store's pool has
// no room: this, not the middle of an upload, is where a busy server says so.
// A full disk is ENOSPC or EDQUOT, with any call (CodeNoSpace).
func (s *Store) Create(ctx context.Context) (*Upload, error) {
	var u *Upload
	err := s.admit(ctx, func() (err error) {
		u, err = s.create()
		return err
	})
	return u, err
}

// create is Create in the caller's goroutine.
func (s *Store) create() (*Upload, error) {
	u := &Upload{store: s, hash: sha256.New()}
	var err error
	if s.named {
		u.file, u.temporary, err = s.temporary()
	} else {
		u.file, err = s.sys.tmpfile(s.root)
	}
	if err != nil {
		return nil, fmt.Errorf("create file: %w", err)
	}
	return u, nil
}
