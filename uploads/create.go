package uploads

import (
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"os"
	"time"
)

// Upload is a file that is being written. It has no name before Publish. One
// goroutine at a time may use it. The caller must call Discard in the end, usually
// with defer; after a successful Publish that does nothing.
type Upload struct {
	store       *Store
	file        *os.File // nil after the upload has ended
	temporary   string   // path of the file in the root; empty if it is unnamed
	callersFile bool     // file and temporary belong to the caller of Resume
	id          string   // id for Options.Stored; empty until it is needed
	hash        hash.Hash
	size        int64 // bytes
	synced      bool  // true if everything written is durable
	started     time.Time
	metered     bool  // true if Options.Meter has counted the start
	publishErr  error // error of the last attempt to publish
	err         error // permanent error: the file does not contain what was written
}

// Create starts an upload. If the store's pool is full, it does not wait and returns
// pool.ErrFull: a busy server refuses new uploads, so that running ones can continue. If
// the disk is full, Create and all other methods return an error that wraps ENOSPC or
// EDQUOT (CodeNoSpace).
func (s *Store) Create(ctx context.Context) (*Upload, error) {
	var u *Upload
	err := s.Do(ctx, func() (err error) {
		u, err = s.createUpload()
		return err
	})
	return u, err
}

// createUpload is Create in the calling goroutine.
func (s *Store) createUpload() (*Upload, error) {
	u, err := s.newUpload()
	if err == nil {
		u.startMetering()
	}
	return u, err
}

// startMetering reports the start of u to Options.Meter.
func (u *Upload) startMetering() {
	u.started, u.metered = time.Now(), true
	u.store.options.Meter.FileBegan()
}

// newUpload creates the file of an upload, without reporting it to Options.Meter.
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
