package tus

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/galeserver/gale/uploads"
)

// stateSuffix is the suffix of the name of a state file. The rest of the name is the id,
// which is the name of the data file.
const stateSuffix = ".state"

func (s *Server) openFolders() (err error) {
	if s.private, err = s.store.PrivateFolder(folderName); err != nil {
		return err
	}
	for name, root := range map[string]**os.Root{unfinishedName: &s.unfinished, endedName: &s.ended} {
		if err := s.private.Mkdir(name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		if *root, err = s.private.OpenRoot(name); err != nil {
			return err
		}
	}
	dir, err := s.private.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func (s *Server) closeFolders() (err error) {
	for _, root := range []*os.Root{s.unfinished, s.ended, s.private} {
		if root != nil {
			err = errors.Join(err, root.Close())
		}
	}
	return err
}

// entry is an upload whose lock this request holds.
type entry struct {
	server    *Server
	state     *os.File
	data      *os.File // data file; nil until openData is called
	syncErr   error    // error of the first failed sync; bytes after the last checkpoint may be lost
	storedErr error    // uploads.File.StoredErr of the file, if this request has stored it
	attributes
	progress
}

// close closes the files and so releases the lock.
func (e *entry) close() {
	_ = e.state.Close() // writes are synced before
	if e.data != nil {
		_ = e.data.Close()
	}
}

// validID reports whether id can be the id of an upload: 26 characters of base32.
func validID(id string) bool {
	return len(id) == 26 && strings.Trim(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") == ""
}

// find opens the state file of an upload, unfinished or ended.
func (s *Server) find(id string) (*os.File, error) {
	if !validID(id) {
		return nil, errNotFound
	}
	f, err := s.unfinished.OpenFile(id+stateSuffix, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) { // ended, perhaps a moment ago
		f, err = s.ended.OpenFile(id+stateSuffix, os.O_RDWR, 0)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("open state: %w", err)
	}
	return f, nil
}

// acquire locks an upload and reads its state. If another request holds the lock, acquire
// takes the upload over from it. The error is errNotFound, errGone, errLocked, the cause of
// ctx, or an error of the disk.
func (s *Server) acquire(ctx context.Context, id string) (*entry, error) {
	f, err := s.find(id)
	if err != nil {
		return nil, err
	}
	e := &entry{server: s, state: f}
	if err = s.lock(ctx, f); err == nil {
		// Read the state only now: the previous owner of the lock may have changed it.
		e.attributes, e.progress, err = readState(f)
	}
	if err == nil && (e.Phase == phaseDiscarded || e.expired(time.Now())) {
		err = errGone
	}
	if errors.Is(err, errStateUnreadable) {
		s.log.ErrorContext(ctx, "upload lost", "upload", id, "error", err)
		err = errGone
	}
	if err != nil {
		e.close()
		return nil, err
	}
	return e, nil
}

// openData opens the data file.
func (e *entry) openData() error {
	if e.data != nil {
		return nil
	}
	f, err := e.server.unfinished.OpenFile(e.ID, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("open data: %w", err)
	}
	e.data = f
	return nil
}

// newEntry creates an upload and locks it. It holds one lock while it checks
// Options.MaxUnfinished and creates the files, so that concurrent requests cannot exceed
// the limit.
func (s *Server) newEntry(ctx context.Context, attr attributes, p progress) (*entry, error) {
	e := &entry{server: s, attributes: attr, progress: p}
	err := s.store.Do(ctx, func() error {
		dir, err := s.lockIfRoom(max(p.Length, 0), 1)
		if err != nil {
			return err
		}
		defer func() { _ = dir.Close() }() // also releases the lock
		if err = s.createFiles(e); err == nil {
			err = dir.Sync()
		}
		if err != nil {
			e.removeFiles()
		}
		if errors.Is(err, fs.ErrExist) {
			return errLocked // another request is creating the same final upload
		}
		if err != nil {
			return fmt.Errorf("create upload: %w", err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return e, nil
}

// lockIfRoom checks whether this number of bytes and of uploads can be added without
// exceeding the limits. It returns the open folder; until the caller closes it, no other
// request can add any.
func (s *Server) lockIfRoom(bytes int64, files int) (*os.File, error) {
	dir, err := s.unfinished.Open(".")
	if err != nil {
		return nil, fmt.Errorf("open folder: %w", err)
	}
	if err = unix.Flock(int(dir.Fd()), unix.LOCK_EX); err != nil {
		err = fmt.Errorf("lock folder: %w", err)
	} else {
		err = s.checkQuota(bytes, files)
	}
	if err != nil {
		_ = dir.Close()
		return nil, err
	}
	return dir, nil
}

// setLength sets the length of an upload that was created without one, unless that would
// exceed Options.MaxUnfinished.
func (e *entry) setLength(length int64) error {
	info, err := e.data.Stat()
	if err != nil {
		return fmt.Errorf("stat data: %w", err)
	}
	dir, err := e.server.lockIfRoom(length-info.Size(), 0)
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()              // also releases the lock
	if err := e.data.Truncate(length); err != nil { // may cut bytes after Offset, which were never acknowledged
		return fmt.Errorf("set size of data: %w", err)
	}
	e.Length = length
	return e.saveProgress()
}

func (s *Server) createFiles(e *entry) (err error) {
	const flags = os.O_RDWR | os.O_CREATE | os.O_EXCL
	if e.state, err = s.unfinished.OpenFile(e.ID+stateSuffix, flags, 0o600); err != nil {
		return err
	}
	if _, err = tryLock(e.state, ownerByte); err != nil { // always succeeds: the file is new
		return err
	}
	if e.data, err = s.unfinished.OpenFile(e.ID, flags, 0o640); err != nil {
		return err
	}
	// The size of the sparse file counts for Options.MaxUnfinished.
	if err = e.data.Truncate(max(e.Length, 0)); err != nil {
		return err
	}
	return writeState(e.state, e.attributes, e.progress)
}

// removeFiles removes the files that createFiles has created.
func (e *entry) removeFiles() {
	for _, f := range []*os.File{e.data, e.state} {
		if f != nil {
			_ = f.Close()
			_ = e.server.unfinished.Remove(f.Name()[strings.LastIndexByte(f.Name(), '/')+1:]) // after an error the sweep removes it
		}
	}
}

// checkQuota returns an error if that many more bytes and uploads would exceed
// Options.MaxUnfinished or Options.MaxUploads.
func (s *Server) checkQuota(bytes int64, files int) error {
	err := forEachFile(s.unfinished, func(name string, info fs.FileInfo) error {
		if !strings.HasSuffix(name, stateSuffix) {
			bytes, files = bytes+info.Size(), files+1
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("count unfinished uploads: %w", err)
	}
	if bytes > s.opts.MaxUnfinished || files > s.opts.MaxUploads {
		return &requestError{status: http.StatusInsufficientStorage, reason: "too many unfinished uploads on the server, try again later",
			header: [][2]string{{"Retry-After", "60"}}}
	}
	return nil
}

// discard ends an upload that is not stored and removes its data.
func (e *entry) discard(ctx context.Context, why string) error {
	e.server.log.InfoContext(ctx, "upload discarded", "upload", e.ID, "directory", e.Directory, "filename", e.Filename,
		"offset", e.Offset, "reason", why)
	e.Phase, e.Hash = phaseDiscarded, nil
	return e.archive(ctx)
}

// archive saves the final progress, removes the data and moves the state file to the
// folder of ended uploads.
func (e *entry) archive(ctx context.Context) error {
	return e.server.store.DoWait(context.WithoutCancel(ctx), func() error {
		if err := e.saveProgress(); err != nil {
			return err
		}
		if err := e.server.unfinished.Remove(e.ID); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove data: %w", err)
		}
		name := e.ID + stateSuffix
		err := e.server.private.Rename(unfinishedName+"/"+name, endedName+"/"+name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // fs.ErrNotExist: it was moved before
			return fmt.Errorf("move state: %w", err)
		}
		return nil
	})
}

// saveProgress makes the progress durable. If that fails, the written slot may be invalid.
// Seq is not changed then, so that the next call overwrites that slot and not the valid
// one.
func (e *entry) saveProgress() error {
	next := e.progress
	next.Seq++
	if err := writeProgress(e.state, next); err != nil {
		return err
	}
	e.Seq = next.Seq
	return nil
}

// file returns the File of a stored upload.
func (e *entry) file() uploads.File {
	f := uploads.NewFile(e.Directory, e.Filename, nil)
	f.ID, f.Size, f.SHA256, f.StoredErr = e.ID, e.Length, e.Sum, e.storedErr
	return f
}

// storedFile returns the File of the upload, or nil if the upload is not stored.
func (e *entry) storedFile() *uploads.File {
	if e.Phase != phaseStored {
		return nil
	}
	f := e.file()
	return &f
}
