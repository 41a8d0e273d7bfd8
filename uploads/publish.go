package uploads

import (
	"cmp"
	"context"
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

// errOtherName is the error for a name other than that of Create, which is a bug in the
// caller.
var errOtherName = errors.New("publish: another name was given to Create")

// errFinished is the error of a call after the end of the upload, which is a bug in the
// caller.
var errFinished = errors.New("upload already published or discarded")

// publication is an upload with the name it is to get.
type publication struct {
	upload    *Upload
	directory string
	filename  string
	pending   *Pending // line in the pending record; nil if Stored is not called
	err       error    // reason why the file is not published
	storedErr error    // error of Options.Stored
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
// name, if none was given to Create. The File is the result for the client, also after an error.
func (u *Upload) Publish(ctx context.Context, directory, filename string) (File, error) {
	p := &publication{upload: u, directory: directory, filename: filename}
	return u.publish(ctx, p, func(ctx context.Context) Record { return u.store.publishBatch(ctx, []*publication{p}) })
}

// PublishNumbered is Publish, but if the name is in use it adds a number: for name.ext it
// tries name-1.ext to name-9999.ext. File.Filename is the name that the file got.
func (u *Upload) PublishNumbered(ctx context.Context, directory, filename string) (File, error) {
	extension := path.Ext(filename)
	base := strings.TrimSuffix(filename, extension)
	p := &publication{upload: u, directory: directory, filename: filename}
	return u.publish(ctx, p, func(ctx context.Context) (r Record) {
		for n := range maxNumber {
			if n > 0 {
				p.filename = base + "-" + strconv.Itoa(n) + extension
			}
			// The check is only an optimization: it is cheaper than a failed link.
			if p.err = u.store.backend.Files.Check(ctx, directory, p.filename); p.err == nil {
				r = u.store.publishBatch(ctx, []*publication{p})
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
func (u *Upload) publish(ctx context.Context, p *publication, fn func(context.Context) Record) (File, error) {
	p.err = CheckName(p.directory, p.filename)
	if named := u.directory != "" || u.filename != ""; p.err == nil && named && (u.directory != p.directory || u.filename != p.filename) {
		p.err = errOtherName
	}
	if p.err != nil {
		return p.file(), p.err
	}
	batch := []*publication{p}
	ctx, span := startStoring(ctx, batch)
	var r Record
	err := u.store.DoWait(ctx, func() error {
		r = fn(context.WithoutCancel(ctx)) // only whole: the end of a request does not stop it half way
		return nil
	})
	if err != nil { // fn was not called
		p.err = err
	}
	u.store.callStoredFor(ctx, r, batch)
	endStoring(span, batch, err)
	return p.file(), p.err
}

// publishBatch publishes each file of the batch that it can, in the calling goroutine.
// CheckName must have accepted the names. It returns the pending record of the published
// files, or nil if there is none. The whole batch has one record, because every record needs
// a sync.
func (s *Store) publishBatch(ctx context.Context, batch []*publication) Record {
	var entries []Pending
	for _, p := range batch {
		p.pending = nil
		var modified time.Time
		if modified, p.err = p.upload.complete(ctx); p.err == nil {
			p.err = p.count(ctx)
		}
		if p.err == nil && (p.upload.hidden || s.needsStored(p.directory, p.filename)) {
			p.pending = p.upload.pendingEntry(p.directory, p.filename, modified)
			entries = append(entries, *p.pending)
		}
	}
	var r Record
	var err error
	if len(entries) > 0 {
		r, err = s.backend.Journal.Begin(ctx, entries)
	}
	keep := false
	for _, p := range batch {
		if p.err == nil && p.pending != nil {
			p.err = err
		}
		if p.err == nil {
			p.err = p.upload.name(ctx, p.directory, p.filename)
		}
		p.cancelCount(ctx)
		keep = keep || p.pending != nil && p.mayBeStored()
		if p.upload.file != nil { // otherwise it is published, or had ended before
			p.upload.publishErr = p.err
		}
	}
	if err != nil {
		return nil
	}
	if r != nil && !keep {
		r.End(ctx, nil)
		return nil
	}
	return r
}

// mayBeStored reports whether the file has its name, or may have it.
func (p *publication) mayBeStored() bool { return p.err == nil || errors.Is(p.err, ErrUnavailable) }

// complete makes the content durable and returns the modification time.
func (u *Upload) complete(ctx context.Context) (modified time.Time, err error) {
	switch {
	case u.file == nil:
		return modified, errFinished
	case u.err != nil:
		return modified, u.err
	}
	// The error is permanent: after a failed fsync the next one may succeed although
	// bytes are lost (fsync(2)).
	modified, u.err = u.file.Finish(ctx, u.sum())
	return modified, u.err
}

// Finish implements Writer.
func (f *diskFile) Finish(_ context.Context, sum string) (time.Time, error) {
	if f.synced {
		return f.modified, nil
	}
	if f.callersFile { // the file may have data after the checkpoint it was resumed from
		if err := f.file.Truncate(f.size); err != nil {
			return time.Time{}, fmt.Errorf("truncate file: %w", err)
		}
	}
	if err := f.storeSum(sum); err != nil {
		return time.Time{}, err
	}
	if err := f.disk.sys.fsync(f.file); err != nil {
		return time.Time{}, fmt.Errorf("sync file: %w", err)
	}
	f.synced = true
	return f.modified, nil
}

// pendingEntry returns the line of the pending record for a complete upload.
func (u *Upload) pendingEntry(directory, filename string, modified time.Time) *Pending {
	p := &Pending{ID: u.id, Directory: directory, Filename: filename, Size: u.size, SHA256: u.sum(), Quarantined: u.hidden}
	if !modified.IsZero() {
		p.Modified = modified.UnixNano()
	}
	return p
}

// name gives a complete upload its name.
func (u *Upload) name(ctx context.Context, directory, filename string) error {
	if err := u.file.Publish(ctx, directory, filename); err != nil {
		return err
	}
	u.finish(CodeStored)
	u.store.log.Info("file stored", "directory", directory, "filename", filename,
		"bytes", u.size, "duration_ms", time.Since(u.started).Milliseconds())
	return nil
}

// Publish implements Writer.
func (f *diskFile) Publish(_ context.Context, directory, filename string) (err error) {
	for range maxAttempts {
		if err = f.tryLink(directory, filename); !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	return err
}

// tryLink gives a synced file its name. After an error nothing on the disk has changed.
func (f *diskFile) tryLink(directory, filename string) error {
	levels, err := f.disk.openFolder(directory, true)
	if err != nil {
		return err
	}
	defer levels.close()
	root := levels.last().root
	dir, err := root.Open(".")
	if err == nil {
		defer func() { _ = dir.Close() }()
		err = f.link(dir, filename)
		if errors.Is(err, fs.ErrExist) && f.alreadyLinked(root, filename) {
			return levels.sync()
		}
	}
	if err == nil {
		if err = levels.sync(); err != nil {
			// The client gets an error, so there must be no file.
			err = errors.Join(err, root.Remove(filename))
		}
	}
	if err != nil {
		levels.removeMade()
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

// finish ends the upload with the result code and closes its file.
func (u *Upload) finish(code int) {
	if u.file == nil {
		return
	}
	u.file.Close()
	u.file = nil
	u.store.options.Meter.FileEnded(code, time.Since(u.started))
}

// Close implements Writer. It removes the temporary name; a published file keeps its
// other name.
func (f *diskFile) Close() {
	if f.callersFile {
		return
	}
	// Remove the name before the lock is released: sweeps remove files without a lock.
	if f.temporary != "" {
		if err := f.disk.root.Remove(f.temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
			f.disk.log.Warn("temporary file not removed", "file", f.temporary, "error", err)
		}
	}
	_ = f.file.Close() // a published file is synced, any other is discarded
}
