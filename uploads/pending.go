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

// diskRecord is a pending record whose lock this process holds. It implements Record.
type diskRecord struct {
	disk  *disk
	file  *os.File
	name  string // path in the root
	lines int
}

// needsStored reports whether Options.Stored must be called for the file.
func (s *Store) needsStored(directory, filename string) bool {
	return s.options.Stored != nil && (s.options.StoredFilter == nil || s.options.StoredFilter(directory, filename))
}

// Begin implements Journal.
func (d *disk) Begin(_ context.Context, files []Pending) (Record, error) {
	r, err := d.writeRecord(files)
	if err != nil {
		return nil, err
	}
	return r, nil
}

// writeRecord writes a record and syncs it.
func (d *disk) writeRecord(files []Pending) (*diskRecord, error) {
	f, name, err := d.createTemporary(pending)
	if err != nil {
		return nil, fmt.Errorf("create pending record: %w", err)
	}
	r := &diskRecord{disk: d, file: f, name: name, lines: len(files)}
	if err := r.write(files); err != nil {
		r.remove()
		return nil, fmt.Errorf("write pending record: %w", err)
	}
	return r, nil
}

func (r *diskRecord) write(files []Pending) error {
	var text bytes.Buffer
	lines := json.NewEncoder(&text)
	for _, f := range files {
		if err := lines.Encode(f); err != nil {
			return err
		}
	}
	if _, err := r.disk.sys.write(r.file, text.Bytes()); err != nil {
		return err
	}
	if err := r.disk.sys.fsync(r.file); err != nil {
		return err
	}
	dir, err := r.disk.root.Open(pending)
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }() // opened for reading only
	return r.disk.sys.fsync(dir)
}

// remove removes the record. The removal is not synced: if a power failure undoes it,
// Stored is called again with the same ids.
func (r *diskRecord) remove() {
	// Remove the name before the lock is released: Run takes records without a lock.
	if err := r.disk.root.Remove(r.name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.disk.log.Warn("pending record not removed", "file", r.name, "error", err)
	}
	r.release()
}

// release closes the record and so releases its lock. Then Run of any process can process
// the record.
func (r *diskRecord) release() { _ = r.file.Close() } // writes are synced before

// End implements Record. It replaces the record by one that has only the files in left. So
// Stored is not called again for the other files, for which it has returned nil.
func (r *diskRecord) End(_ context.Context, left []Pending) {
	switch {
	case len(left) == 0:
		r.remove()
		return
	case len(left) < r.lines:
		rest, err := r.disk.writeRecord(left)
		if err == nil {
			rest.release()
			r.remove()
			return
		}
		r.disk.log.Warn("pending record not shortened", "file", r.name, "error", err)
	}
	r.release()
}

// callStoredFor calls Options.Stored for the published files of a batch. r is the
// record of the batch, or nil. It runs in the calling goroutine and not in the pool: the
// pool is for disk operations, and Stored may wait for something else.
func (s *Store) callStoredFor(ctx context.Context, r Record, batch []*publication) {
	if r == nil {
		return
	}
	ctx = context.WithoutCancel(ctx) // the files are stored, even if the client has disconnected
	var left []Pending
	waiting := false
	for _, p := range batch {
		if p.pending == nil || !p.mayBeStored() {
			continue
		}
		if p.err != nil { // Journal.Retry finds out whether the file is stored
			left = append(left, *p.pending)
			continue
		}
		if p.storedErr = s.settle(ctx, *p.pending); errors.Is(p.storedErr, errHeld) {
			left, waiting, p.storedErr = append(left, *p.pending), true, nil
		} else if p.storedErr != nil {
			left = append(left, *p.pending)
			s.log.WarnContext(ctx, "callback for stored file failed, will retry", "id", p.pending.ID,
				"directory", p.directory, "filename", p.filename, "error", p.storedErr)
		}
	}
	if !waiting || !s.hold(r, left) {
		r.End(ctx, left)
	}
}

// callStored calls Options.Stored and turns a panic into an error.
func (s *Store) callStored(ctx context.Context, p Pending) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("Options.Stored panicked: %v", v)
		}
	}()
	return s.options.Stored(ctx, p.ID, p.file())
}

// openRecord opens and locks a record. It returns nil if another process holds the
// lock, or if the record has been removed.
func (d *disk) openRecord(name string) (*diskRecord, error) {
	// O_RDWR: on NFS an exclusive lock needs a file opened for writing (flock(2)).
	// O_NONBLOCK: the file may have been replaced by a FIFO, and opening that blocks.
	f, err := d.root.OpenFile(name, os.O_RDWR|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // the record has been removed
	}
	if err != nil {
		return nil, err
	}
	locked, err := d.lockTemporary(f)
	if !locked || err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &diskRecord{disk: d, file: f, name: name}, nil
}

// read returns the files of a record. Lines that this package cannot have written are
// logged and skipped. An incomplete last line does not matter: no file of an incomplete
// record has been published.
func (r *diskRecord) read() (files []Pending, err error) {
	lines := bufio.NewScanner(io.NewSectionReader(r.file, 0, 1<<62))
	lines.Buffer(nil, maxPendingLine)
	for lines.Scan() {
		r.lines++
		var p Pending
		err := json.Unmarshal(lines.Bytes(), &p)
		if err == nil {
			err = p.Check()
		}
		if err != nil {
			r.disk.log.Warn("invalid line of pending record skipped", "file", r.name, "error", err)
			continue
		}
		files = append(files, p)
	}
	if err := lines.Err(); errors.Is(err, bufio.ErrTooLong) {
		r.disk.log.Warn("invalid rest of pending record skipped", "file", r.name, "error", err)
	} else if err != nil {
		return nil, fmt.Errorf("read pending record: %w", err)
	}
	return files, nil
}

// stillStored reports whether the file is stored. It is not if the process was killed
// before the file got its name, or if the file has been removed, changed or replaced
// since then.
func (d *disk) stillStored(p Pending) (bool, error) {
	f, err := d.openPending(p)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, f.Close()
}

// validID reports whether id is 1 to 100 ASCII letters, digits, hyphens and
// underscores, so that it can be part of a file name.
func validID(id string) bool {
	return id != "" && len(id) <= 100 && !strings.ContainsFunc(id, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
	})
}
