package uploads

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"time"
)

// maxAttempts is how often Publish tries to open the directory and link the file.
// Another upload that created the directory and then failed may remove it in between.
const maxAttempts = 20

// maxNumber is the number of names that PublishNumbered tries.
const maxNumber = 10_000

// errFinished is the error of a call after the end of the upload, which is a bug in the
// caller.
var errFinished = errors.New("upload already published or discarded")

// publication is an upload with the name it is to get.
type publication struct {
	upload    *Upload
	directory string
	filename  string
	pending   *pendingFile // line in the pending record; nil if Stored is not called
	err       error        // reason why the file is not published
	storedErr error        // error of Options.Stored
}

// file returns the File of a publication.
func (p *publication) file() File {
	f := NewFile(p.directory, p.filename, p.err)
	if p.err != nil {
		return f
	}
	f.Size, f.SHA256, f.StoredErr = p.upload.size, p.upload.sum(), p.storedErr
	if p.pending != nil {
		f.ID = p.pending.ID
	}
	return f
}

// Publish gives the file its name. It syncs the file, creates the directory if it is
// missing, links the file and syncs the directory and all folders above it, so that the
// file survives a power failure. Then it calls Options.Stored. Publish works in the pool
// and waits while that is full; Stored runs in the calling goroutine.
//
// After an error there is no file of that name, and no folder that Publish created. The
// error wraps ErrName for a name that CheckName refuses or that contains a symbolic
// link, and ErrExists if the name is in use; then Publish may be called with another
// name. The File is the result for the client, also after an error.
func (u *Upload) Publish(ctx context.Context, directory, filename string) (File, error) {
	p := &publication{upload: u, directory: directory, filename: filename}
	return u.publish(ctx, p, func() *record { return u.store.publishBatch([]*publication{p}) })
}

// PublishNumbered is Publish, but if the name is in use it adds a number: for name.ext it
// tries name-1.ext to name-9999.ext. File.Filename is the name that the file got.
func (u *Upload) PublishNumbered(ctx context.Context, directory, filename string) (File, error) {
	extension := path.Ext(filename)
	base := strings.TrimSuffix(filename, extension)
	p := &publication{upload: u, directory: directory, filename: filename}
	return u.publish(ctx, p, func() (r *record) {
		for n := range maxNumber {
			if n > 0 {
				p.filename = base + "-" + strconv.Itoa(n) + extension
			}
			// The check is only an optimization: it is cheaper than a failed link.
			if p.err = u.store.check(directory, p.filename); p.err == nil {
				r = u.store.publishBatch([]*publication{p})
			}
			if !errors.Is(p.err, ErrExists) {
				return r
			}
		}
		p.filename = filename
		return nil
	})
}

// publish runs fn in the pool. fn publishes p and returns its pending record.
func (u *Upload) publish(ctx context.Context, p *publication, fn func() *record) (File, error) {
	if p.err = CheckName(p.directory, p.filename); p.err != nil {
		return p.file(), p.err
	}
	var r *record
	err := u.store.DoWait(ctx, func() error {
		r = fn()
		return nil
	})
	if err != nil { // fn was not called
		p.err = err
	}
	u.store.callStoredFor(ctx, r, []*publication{p})
	return p.file(), p.err
}

// publishBatch publishes each file of the batch that it can, in the calling goroutine.
// CheckName must have accepted the names. It returns the pending record of the published
// files, or nil if there is none. The whole batch has one record, because every record needs
// a sync.
func (s *Store) publishBatch(batch []*publication) *record {
	var entries []pendingFile
	for _, p := range batch {
		p.pending = nil
		if p.err = p.upload.syncContent(); p.err == nil && s.needsStored(p.directory, p.filename) {
			if p.pending, p.err = p.upload.pendingEntry(p.directory, p.filename); p.err == nil {
				entries = append(entries, *p.pending)
			}
		}
	}
	r, err := s.writeRecord(entries)
	published := 0
	for _, p := range batch {
		if p.err == nil && p.pending != nil {
			p.err = err
		}
		if p.err == nil {
			p.err = p.upload.linkWithRetry(p.directory, p.filename)
		}
		if p.err == nil && p.pending != nil {
			published++
		}
		if p.upload.file != nil { // otherwise it is published, or had ended before
			p.upload.publishErr = p.err
		}
	}
	if r != nil && published == 0 {
		r.remove()
		return nil
	}
	return r
}

// syncContent makes the content durable.
func (u *Upload) syncContent() error {
	switch {
	case u.file == nil:
		return errFinished
	case u.err != nil:
		return u.err
	case u.synced:
		return nil
	}
	if u.callersFile { // the file may have data after the checkpoint it was resumed from
		if err := u.file.Truncate(u.size); err != nil {
			return fmt.Errorf("truncate file: %w", err)
		}
	}
	u.storeSum()
	// The error is permanent: after a failed fsync the next one may succeed although
	// bytes are lost (fsync(2)).
	if err := u.store.sys.fsync(u.file); err != nil {
		u.err = fmt.Errorf("sync file: %w", err)
		return u.err
	}
	u.synced = true
	return nil
}

// pendingEntry returns the line of the pending record for a synced upload.
func (u *Upload) pendingEntry(directory, filename string) (*pendingFile, error) {
	info, err := u.file.Stat()
	if err != nil {
		return nil, fmt.Errorf("stat file: %w", err)
	}
	if u.id == "" {
		u.id = rand.Text()
	}
	return &pendingFile{ID: u.id, Directory: directory, Filename: filename,
		Size: u.size, Modified: info.ModTime().UnixNano(), SHA256: u.sum()}, nil
}

// linkWithRetry gives a synced upload its name.
func (u *Upload) linkWithRetry(directory, filename string) (err error) {
	for range maxAttempts {
		if err = u.tryLink(directory, filename); !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	if err != nil {
		return err
	}
	u.finish(CodeStored)
	u.store.log.Info("file stored", "directory", directory, "filename", filename,
		"bytes", u.size, "duration_ms", time.Since(u.started).Milliseconds())
	return nil
}

// tryLink gives a synced upload its name. After an error nothing in the store has changed.
func (u *Upload) tryLink(directory, filename string) error {
	f, err := u.store.openFolder(directory, true)
	if err != nil {
		return err
	}
	defer f.close()
	root := f.last().root
	dir, err := root.Open(".")
	if err == nil {
		defer func() { _ = dir.Close() }()
		err = u.link(dir, filename)
		if errors.Is(err, fs.ErrExist) && u.alreadyLinked(root, filename) {
			return f.sync()
		}
	}
	if err == nil {
		if err = f.sync(); err != nil {
			// The client gets an error, so there must be no file.
			err = errors.Join(err, root.Remove(filename))
		}
	}
	if err != nil {
		f.removeMade()
	}
	if errors.Is(err, fs.ErrExist) {
		return existsError(directory, filename)
	}
	return err
}

// Discard removes the file unless it is published. It does not use the pool, so it works
// also when that is full. It may be called more than once.
func (u *Upload) Discard() {
	code := CodeInvalid // the client closed the connection
	if err := cmp.Or(u.publishErr, u.err); err != nil {
		code, _ = codeAndReason(err)
	}
	u.finish(code)
}

// finish ends the upload with the result code, closes its file and removes the
// temporary name. A published file keeps its other name.
func (u *Upload) finish(code int) {
	if u.file == nil {
		return
	}
	// Remove the name before the lock is released: sweeps remove files without a lock.
	if u.temporary != "" && !u.callersFile {
		if err := u.store.root.Remove(u.temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
			u.store.log.Warn("temporary file not removed", "file", u.temporary, "error", err)
		}
	}
	if !u.callersFile {
		_ = u.file.Close() // a published file is synced, any other is discarded
	}
	u.file = nil
	if u.metered {
		u.store.options.Meter.FileEnded(code, time.Since(u.started))
	}
}
