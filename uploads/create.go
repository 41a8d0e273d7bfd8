package uploads

import (
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"os"
	"time"
)

// Upload is a file being written, without a name until Publish. Its methods
// are for one goroutine at a time. Whoever made it discards it in the end;
// after a successful Publish that does nothing.
type Upload struct {
	store       *Store
	file        *os.File
	temporary   string // path in the root; empty for an unnamed file
	callersFile bool   // temporary is another's, see Resume
	id          string // for Options.Stored; drawn when it is needed
	hash        hash.Hash
	size        int64
	synced      bool
	started     time.Time
	metered     bool  // by Options.Meter
	publishErr  error // of the last attempt to publish
	err         error // ends the upload: its content is not what was sent
}

// Create begins a file. It returns pool.ErrFull at once if the store's pool has
// no room: a busy server refuses uploads here, not in the middle of one.
// A full disk is ENOSPC or EDQUOT, with any call (CodeNoSpace).
func (s *Store) Create(ctx context.Context) (*Upload, error) {
	var u *Upload
	err := s.Do(ctx, func() (err error) {
		u, err = s.createUpload()
		return err
	})
	return u, err
}

// begin is Create in the caller's goroutine.
func (s *Store) createUpload() (*Upload, error) {
	u, err := s.newUpload()
	if err == nil {
		u.startMetering()
	}
	return u, err
}

// start makes u an upload that counts.
func (u *Upload) startMetering() {
	u.started, u.metered = time.Now(), true
	u.store.options.Meter.FileBegan()
}

// create makes a file that is nobody's upload yet.
func (s *Store) newUpload() (*Upload, error) {
	u := &Upload{store: s, hash: sha256.New()}
	var err error
	if s.useTemporaries {
		u.file, u.temporary, err = s.createTemporary(incoming)
	} else {
		u.file, err = s.sys.tmpfile(s.root)
	}
	if err != nil {
		return nil, fmt.Errorf("create file: %w", err)
	}
	return u, nil
}
