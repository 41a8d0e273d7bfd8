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

// maxAttempts is how often Publish enters the directory anew because another
// upload, which made it and failed, removed it again.
const maxAttempts = 20

// maxNumber is how many names PublishNumbered tries.
const maxNumber = 10_000

// errFinished is a bug of the caller's.
var errFinished = errors.New("upload is published or discarded already")

// publication is an upload that is to get a name.
type publication struct {
	upload    *Upload
	directory string
	filename  string
	pending   *pendingFile // its line in the pending record; nil if there is none
	err       error        // why it is not published
	storedErr error        // of Options.Stored
}

// file is the File of a publication.
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

// Publish gives the file its name, in the pool: sync the file, make the
// directory if it is missing, link(2), which never replaces, sync the directory
// and all above it. When it returns nil the file survives a power cut. Then it
// calls Options.Stored.
//
// On an error there is no such file, and no folder that was made for it. The
// error wraps ErrName for a name against CheckName's rule or through a symbolic
// link, and ErrExists if anything has that name; then another name may be tried.
// The File says in either case what the client gets.
func (u *Upload) Publish(ctx context.Context, directory, filename string) (File, error) {
	p := &publication{upload: u, directory: directory, filename: filename}
	return u.publish(ctx, p, func() *record { return u.store.publishBatch([]*publication{p}) })
}

// PublishNumbered is Publish, but where the filename is taken it tries
// name-1.ext, name-2.ext and so on, ten thousand of them.
func (u *Upload) PublishNumbered(ctx context.Context, directory, filename string) (File, error) {
	extension := path.Ext(filename)
	base := strings.TrimSuffix(filename, extension)
	p := &publication{upload: u, directory: directory, filename: filename}
	return u.publish(ctx, p, func() (r *record) {
		for n := range maxNumber {
			if n > 0 {
				p.filename = base + "-" + strconv.Itoa(n) + extension
			}
			// The look is cheaper than the link, which decides.
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

// publish runs a function, in the pool, that publishes p and returns its record.
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

// publish publishes what can be of a batch of acceptable names, in the caller's
// goroutine, and returns the pending record of those that it has, which is nil if
// there are none. One record for all of them costs one sync more, and not one each.
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
		if p.upload.file != nil { // else it is published, or a caller's mistake
			p.upload.publishErr = p.err
		}
	}
	if r != nil && published == 0 {
		r.remove()
		return nil
	}
	return r
}

// seal makes the content durable: nothing is written after it.
func (u *Upload) syncContent() error {
	switch {
	case u.file == nil:
		return errFinished
	case u.err != nil:
		return u.err
	case u.synced:
		return nil
	}
	if u.callersFile { // and may have been written further than counts
		if err := u.file.Truncate(u.size); err != nil {
			return fmt.Errorf("cut file: %w", err)
		}
	}
	u.storeSum()
	// Once failed, a second fsync may succeed although the bytes are lost
	// (fsync(2)), so the error stays.
	if err := u.store.sys.fsync(u.file); err != nil {
		u.err = fmt.Errorf("sync file: %w", err)
		return u.err
	}
	u.synced = true
	return nil
}

// line is what a pending record says of a sealed upload.
func (u *Upload) pendingEntry(directory, filename string) (*pendingFile, error) {
	info, err := u.file.Stat()
	if err != nil {
		return nil, fmt.Errorf("look at file: %w", err)
	}
	if u.id == "" {
		u.id = rand.Text()
	}
	return &pendingFile{ID: u.id, Directory: directory, Filename: filename,
		Size: u.size, Modified: info.ModTime().UnixNano(), SHA256: u.sum()}, nil
}

// name gives a sealed upload its name.
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

// place names the synced file, or leaves everything as it was.
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
			// The client is told no, so there must be no file.
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

// Discard frees the file unless it is published. It takes no place in the pool,
// so that it always can, and may be called more than once.
func (u *Upload) Discard() {
	code := CodeInvalid // the sender went away
	if err := cmp.Or(u.publishErr, u.err); err != nil {
		code, _ = codeAndReason(err)
	}
	u.finish(code)
}

// finish ends the upload, whose outcome is code: the file has its name, and
// what goes is the temporary's, or it is unwanted.
func (u *Upload) finish(code int) {
	if u.file == nil {
		return
	}
	// The name first: an unlocked temporary is a sweeper's.
	if u.temporary != "" && !u.callersFile {
		if err := u.store.root.Remove(u.temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
			u.store.log.Warn("temporary not removed", "file", u.temporary, "error", err)
		}
	}
	if !u.callersFile {
		_ = u.file.Close() // published, and then synced, or unwanted
	}
	u.file = nil
	if u.metered {
		u.store.options.Meter.FileEnded(code, time.Since(u.started))
	}
}
