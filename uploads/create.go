package uploads

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"hash"
	"time"
)

// Upload is a file that is being written. It has no name before Publish. One
// goroutine at a time may use it. The caller must call Discard in the end, usually
// with defer; after a successful Publish that does nothing.
type Upload struct {
	store      *Store
	file       Writer // nil after the upload has ended
	id         string // id for Options.Stored
	directory  string // name that was given to Create; empty for any
	filename   string
	hash       hash.Hash
	size       int64  // bytes
	limit      int64  // size limit in bytes
	hidden     bool   // in quarantine
	subject    string // sender, for Options.Quota
	started    time.Time
	publishErr error // error of the last attempt to publish
	err        error // permanent error: the file does not contain what was written
}

// Create starts an upload. directory and filename are the name that Publish will be called
// with. Both are empty if the name will be chosen later: then object storage needs disk
// space for the whole file until Publish.
//
// If the store's pool is full, Create does not wait and returns pool.ErrFull: a busy server
// refuses new uploads, so that running ones can continue. If the disk is full, Create and
// all other methods return an error that wraps ENOSPC or EDQUOT (CodeNoSpace).
func (s *Store) Create(ctx context.Context, directory, filename string) (*Upload, error) {
	if directory != "" || filename != "" {
		if err := CheckName(directory, filename); err != nil {
			return nil, err
		}
	}
	var u *Upload
	err := s.Do(ctx, func() (err error) {
		u, err = s.createUpload(ctx, rand.Text(), directory, filename)
		return err
	})
	return u, err
}

// createUpload is Create in the calling goroutine.
func (s *Store) createUpload(ctx context.Context, id, directory, filename string) (*Upload, error) {
	u := &Upload{store: s, id: id, directory: directory, filename: filename, hash: sha256.New(), limit: s.options.MaxFile}
	var err error
	if u.file, err = s.backend.Files.Create(ctx, u.id, directory, filename); err != nil {
		return nil, err
	}
	if u.hidden, err = s.hide(ctx, u.file); err != nil {
		u.file.Close()
		return nil, err
	}
	u.startMetering()
	return u, nil
}

// startMetering reports the start of u to Options.Meter.
func (u *Upload) startMetering() {
	u.started = time.Now()
	u.store.options.Meter.FileBegan()
}

// Create implements Files. The name does not matter: the file has none before it is
// complete.
func (d *disk) Create(context.Context, string, string, string) (Writer, error) { return d.create() }

func (d *disk) create() (*diskFile, error) {
	f := &diskFile{disk: d}
	var err error
	if d.useTemporaries {
		f.file, f.temporary, err = d.createTemporary(incoming)
	} else {
		f.file, err = d.sys.tmpfile(d.root)
	}
	if err != nil {
		return nil, fmt.Errorf("create file: %w", err)
	}
	return f, nil
}
