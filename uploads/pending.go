package uploads

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// pending is the folder in the root for pending records. A record lists files for which
// Options.Stored has not returned nil yet, one line of JSON for each. It is durable
// before the first of these files gets its name, and removed when Stored has returned
// nil for all of them. A process that works on a record holds a lock on it. Run processes
// the records without a lock.
const pending = ".pending"

// maxPendingLine is the limit of a line, in bytes. The longest directory and filename
// fit, even if JSON escapes each character.
const maxPendingLine = 64 << 10

// pendingFile is a line of a record. Size, Modified and SHA256 distinguish the file
// from a later one with the same name.
type pendingFile struct {
	ID        string `json:"id"`
	Directory string `json:"directory"`
	Filename  string `json:"filename"`
	Size      int64  `json:"size"`
	Modified  int64  `json:"modified"` // Unix time, ns
	SHA256    string `json:"sha256"`
}

func (p pendingFile) file() File {
	f := NewFile(p.Directory, p.Filename, nil)
	f.ID, f.Size, f.SHA256 = p.ID, p.Size, p.SHA256
	return f
}

// record is a pending record whose lock this process holds.
type record struct {
	store *Store
	file  *os.File
	name  string // path in the root
	lines int
}

// needsStored reports whether Options.Stored must be called for the file.
func (s *Store) needsStored(directory, filename string) bool {
	return s.options.Stored != nil && (s.options.StoredFilter == nil || s.options.StoredFilter(directory, filename))
}

// writeRecord writes a record and syncs it. It returns nil if there are no files.
func (s *Store) writeRecord(files []pendingFile) (*record, error) {
	if len(files) == 0 {
		return nil, nil //nolint:nilnil // no files, no record
	}
	f, name, err := s.createTemporary(pending)
	if err != nil {
		return nil, fmt.Errorf("create pending record: %w", err)
	}
	r := &record{store: s, file: f, name: name, lines: len(files)}
	if err := r.write(files); err != nil {
		r.remove()
		return nil, fmt.Errorf("write pending record: %w", err)
	}
	return r, nil
}

func (r *record) write(files []pendingFile) error {
	var text bytes.Buffer
	lines := json.NewEncoder(&text)
	for _, f := range files {
		if err := lines.Encode(f); err != nil {
			return err
		}
	}
	if _, err := r.store.sys.write(r.file, text.Bytes()); err != nil {
		return err
	}
	if err := r.store.sys.fsync(r.file); err != nil {
		return err
	}
	dir, err := r.store.root.Open(pending)
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }() // opened for reading only
	return r.store.sys.fsync(dir)
}

// remove removes the record. The removal is not synced: if a power failure undoes it,
// Stored is called again with the same ids.
func (r *record) remove() {
	// Remove the name before the lock is released: Run takes records without a lock.
	if err := r.store.root.Remove(r.name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.store.log.Warn("pending record not removed", "file", r.name, "error", err)
	}
	r.release()
}

// release closes the record and so releases its lock. Then Run of any process can process
// the record.
func (r *record) release() { _ = r.file.Close() } // writes are synced before

// keepOnly replaces the record by one that has only the files in left, and releases it. So
// Stored is not called again for the other files, for which it has returned nil.
func (r *record) keepOnly(left []pendingFile) {
	switch {
	case len(left) == 0:
		r.remove()
		return
	case len(left) < r.lines:
		rest, err := r.store.writeRecord(left)
		if err == nil {
			rest.release()
			r.remove()
			return
		}
		r.store.log.Warn("pending record not shortened", "file", r.name, "error", err)
	}
	r.release()
}

// callStoredFor calls Options.Stored for the published files of a batch. r is the
// record of the batch, or nil. It runs in the calling goroutine and not in the pool: the
// pool is for disk operations, and Stored may wait for something else.
func (s *Store) callStoredFor(ctx context.Context, r *record, batch []*publication) {
	if r == nil {
		return
	}
	ctx = context.WithoutCancel(ctx) // the files are stored, even if the client has disconnected
	var left []pendingFile
	for _, p := range batch {
		if p.err != nil || p.pending == nil {
			continue
		}
		if p.storedErr = s.callStored(ctx, *p.pending); p.storedErr != nil {
			left = append(left, *p.pending)
			s.log.WarnContext(ctx, "callback for stored file failed, will retry", "id", p.pending.ID,
				"directory", p.directory, "filename", p.filename, "error", p.storedErr)
		}
	}
	r.keepOnly(left)
}

// callStored calls Options.Stored and turns a panic into an error.
func (s *Store) callStored(ctx context.Context, p pendingFile) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("Options.Stored panicked: %v", v)
		}
	}()
	return s.options.Stored(ctx, p.ID, p.file())
}

// openRecord opens and locks a record. It returns nil if another process holds the
// lock, or if the record has been removed.
func (s *Store) openRecord(name string) (*record, error) {
	// O_RDWR: on NFS an exclusive lock needs a file opened for writing (flock(2)).
	// O_NONBLOCK: the file may have been replaced by a FIFO, and opening that blocks.
	f, err := s.root.OpenFile(name, os.O_RDWR|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // the record has been removed
	}
	if err != nil {
		return nil, err
	}
	locked, err := s.lockTemporary(f)
	if !locked || err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &record{store: s, file: f, name: name}, nil
}

// read returns the files of a record. Lines that this package cannot have written are
// logged and skipped. An incomplete last line does not matter: no file of an incomplete
// record has been published.
func (r *record) read() (files []pendingFile, err error) {
	lines := bufio.NewScanner(io.NewSectionReader(r.file, 0, 1<<62))
	lines.Buffer(nil, maxPendingLine)
	for lines.Scan() {
		r.lines++
		var p pendingFile
		err := json.Unmarshal(lines.Bytes(), &p)
		if err == nil {
			err = CheckName(p.Directory, p.Filename)
		}
		if err == nil && !validID(p.ID) {
			err = fmt.Errorf("invalid id %q", shorten(p.ID))
		}
		if err != nil {
			r.store.log.Warn("invalid line of pending record skipped", "file", r.name, "error", err)
			continue
		}
		files = append(files, p)
	}
	if err := lines.Err(); errors.Is(err, bufio.ErrTooLong) {
		r.store.log.Warn("invalid rest of pending record skipped", "file", r.name, "error", err)
	} else if err != nil {
		return nil, fmt.Errorf("read pending record: %w", err)
	}
	return files, nil
}

// stillStored reports whether the file is stored. It is not if the process was killed
// before the file got its name, or if the file has been removed, changed or replaced
// since then.
func (s *Store) stillStored(p pendingFile) (bool, error) {
	f, err := s.Open(p.Directory, p.Filename)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrName) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer func() { _ = f.Close() }() // opened for reading only
	info, err := f.Stat()
	if err != nil {
		return false, fmt.Errorf("stat stored file: %w", err)
	}
	if info.Size() != p.Size || info.ModTime().UnixNano() != p.Modified {
		return false, nil
	}
	sum, known := s.Sum(f)
	return !known || sum == p.SHA256, nil
}

// validID reports whether id is 1 to 100 ASCII letters, digits, hyphens and
// underscores, so that it can be part of a file name.
func validID(id string) bool {
	return id != "" && len(id) <= 100 && !strings.ContainsFunc(id, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
	})
}
