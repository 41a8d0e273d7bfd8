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

// pending is the folder of pending records, in the root. A record lists files, a
// line of JSON each, for which Options.Stored has not returned nil yet. It is on
// disk before the first of them has its name, and goes when Stored is done with all
// of them. The process that works on a record holds its lock: one that is not
// locked was left by a process that was killed, or waits for the next try of Run.
const pending = ".pending"

// maxPendingLine is the limit of a line, in bytes: two names of the longest kind
// fit, whatever JSON escapes in them.
const maxPendingLine = 64 << 10

// pendingFile is a line of a record. Size, Modified and SHA256 tell the file from
// another that was stored under the same name.
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
	name  string // in the root
	lines int
}

// follows reports whether Options.Stored is to be called for a file of that name.
func (s *Store) needsStored(directory, filename string) bool {
	return s.options.Stored != nil && (s.options.StoredFilter == nil || s.options.StoredFilter(directory, filename))
}

// note writes a record, durably. It returns nil for no files.
func (s *Store) writeRecord(files []pendingFile) (*record, error) {
	if len(files) == 0 {
		return nil, nil //nolint:nilnil // there is nothing to note
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
	defer func() { _ = dir.Close() }() // open for reading only
	return r.store.sys.fsync(dir)
}

// remove ends a record of which nothing is left to do. If a power cut brings it
// back, Stored is called once more with the same ids.
func (r *record) remove() {
	// The name first: an unlocked record is Run's.
	if err := r.store.root.Remove(r.name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.store.log.Warn("pending record not removed", "file", r.name, "error", err)
	}
	r.release()
}

// release leaves the record to the next try of Run, in any process.
func (r *record) release() { _ = r.file.Close() } // synced where it matters

// end leaves a record of what is left to do, and none of what is done: Stored must
// not be called again for that when its outcome is long forgotten.
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

// follow calls Options.Stored for the published files of a batch whose record is r,
// which may be nil. It runs in the caller's goroutine: what Stored waits for is not
// the disk.
func (s *Store) callStoredFor(ctx context.Context, r *record, batch []*publication) {
	if r == nil {
		return
	}
	ctx = context.WithoutCancel(ctx) // the file is there, whoever goes away
	var left []pendingFile
	for _, p := range batch {
		if p.err != nil || p.pending == nil {
			continue
		}
		if p.storedErr = s.callStored(ctx, *p.pending); p.storedErr != nil {
			left = append(left, *p.pending)
			s.log.WarnContext(ctx, "what follows a stored file failed, will be tried again", "id", p.pending.ID,
				"directory", p.directory, "filename", p.filename, "error", p.storedErr)
		}
	}
	r.keepOnly(left)
}

// stored calls Options.Stored; a panic is an error.
func (s *Store) callStored(ctx context.Context, p pendingFile) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("Options.Stored panicked: %v", v)
		}
	}()
	return s.options.Stored(ctx, p.ID, p.file())
}

// openRecord takes the lock of a record; it returns nil if that is held, or the
// record has gone.
func (s *Store) openRecord(name string) (*record, error) {
	// For writing, as NFS wants it for an exclusive lock (flock(2)); without
	// waiting, should it be a fifo by now.
	f, err := s.root.OpenFile(name, os.O_RDWR|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // see above
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

// read returns the files of a record. Lines that this package cannot have written
// are logged and left out. A record that is not whole has nothing to say: no file of
// it was published.
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
			err = fmt.Errorf("its id %q is none", shorten(p.ID))
		}
		if err != nil {
			r.store.log.Warn("line of a pending record refused", "file", r.name, "error", err)
			continue
		}
		files = append(files, p)
	}
	if err := lines.Err(); errors.Is(err, bufio.ErrTooLong) {
		r.store.log.Warn("rest of a pending record refused", "file", r.name, "error", err)
	} else if err != nil {
		return nil, fmt.Errorf("read pending record: %w", err)
	}
	return files, nil
}

// there reports whether the file is stored: not if its process was killed before it
// had its name, if it has been removed or changed since, or if the name is another's.
func (s *Store) stillStored(p pendingFile) (bool, error) {
	f, err := s.Open(p.Directory, p.Filename)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrName) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer func() { _ = f.Close() }() // open for reading only
	info, err := f.Stat()
	if err != nil {
		return false, fmt.Errorf("look at stored file: %w", err)
	}
	if info.Size() != p.Size || info.ModTime().UnixNano() != p.Modified {
		return false, nil
	}
	sum, known := s.Sum(f)
	return !known || sum == p.SHA256, nil
}

// validID reports whether an id can be part of a file's name and of most other names.
func validID(id string) bool {
	return id != "" && len(id) <= 100 && !strings.ContainsFunc(id, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
	})
}
