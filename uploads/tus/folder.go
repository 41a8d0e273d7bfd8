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

// stateSuffix is what the name of a state file has behind the id; the data has
// nothing there.
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

// entry is an upload that this request holds.
type entry struct {
	server    *Server
	state     *os.File
	data      *os.File // nil until it is needed
	syncErr   error    // first failed sync; what was written since the last checkpoint may be lost
	storedErr error    // uploads.File.StoredErr of the file that this request has stored
	attributes
	progress
}

// close lets the upload go.
func (e *entry) close() {
	_ = e.state.Close() // synced where it matters
	if e.data != nil {
		_ = e.data.Close()
	}
}

// validID is what ids look like: 26 letters and digits of base32.
func validID(id string) bool {
	return len(id) == 26 && strings.Trim(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") == ""
}

// find opens the state file of an upload, wherever it stands.
func (s *Server) find(id string) (*os.File, error) {
	if !validID(id) {
		return nil, errNotFound
	}
	f, err := s.unfinished.OpenFile(id+stateSuffix, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) { // or it is being moved
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

// acquire takes an upload, from whoever has it. Errors are errNotFound, errGone
// and errLocked beside those of the disk.
func (s *Server) acquire(ctx context.Context, id string) (*entry, error) {
	f, err := s.find(id)
	if err != nil {
		return nil, err
	}
	e := &entry{server: s, state: f}
	if err = s.lock(ctx, f); err == nil {
		// Only now: the one before may have moved it on.
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

// openData opens the file with the bytes.
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

// make creates an upload and takes it. The sum of all that is unfinished, and with
// it what is promised here, is within Options.MaxUnfinished: looking and making are
// under one lock.
func (s *Server) newEntry(ctx context.Context, attr attributes, p progress) (*entry, error) {
	e := &entry{server: s, attributes: attr, progress: p}
	err := s.store.Do(ctx, func() error {
		dir, err := s.lockIfRoom(max(p.Length, 0), 1)
		if err != nil {
			return err
		}
		defer func() { _ = dir.Close() }() // and with it the lock
		if err = s.createFiles(e); err == nil {
			err = dir.Sync()
		}
		if err != nil {
			e.removeFiles()
		}
		if errors.Is(err, fs.ErrExist) {
			return errLocked // a final upload is being made by another request
		}
		if err != nil {
			return fmt.Errorf("make upload: %w", err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return e, nil
}

// reserve returns the folder, locked until it is closed, if there is room in it for
// more bytes and uploads: nobody else promises any until then.
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

// promise notes the length of an upload that had none, if there is room for what
// is not there of it.
func (e *entry) setLength(length int64) error {
	info, err := e.data.Stat()
	if err != nil {
		return fmt.Errorf("look at data: %w", err)
	}
	dir, err := e.server.lockIfRoom(length-info.Size(), 0)
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()              // and with it the lock
	if err := e.data.Truncate(length); err != nil { // what is there behind Offset was never acknowledged
		return fmt.Errorf("set the size of an upload: %w", err)
	}
	e.Length = length
	return e.saveProgress()
}

func (s *Server) createFiles(e *entry) (err error) {
	const flags = os.O_RDWR | os.O_CREATE | os.O_EXCL
	if e.state, err = s.unfinished.OpenFile(e.ID+stateSuffix, flags, 0o600); err != nil {
		return err
	}
	if _, err = tryLock(e.state, ownerByte); err != nil { // nobody else knows it yet
		return err
	}
	if e.data, err = s.unfinished.OpenFile(e.ID, flags, 0o640); err != nil {
		return err
	}
	// The size, of which nothing is allocated, says how much is promised.
	if err = e.data.Truncate(max(e.Length, 0)); err != nil {
		return err
	}
	return writeState(e.state, e.attributes, e.progress)
}

// removeFiles removes what createFiles has made, and only that.
func (e *entry) removeFiles() {
	for _, f := range []*os.File{e.data, e.state} {
		if f != nil {
			_ = f.Close()
			_ = e.server.unfinished.Remove(f.Name()[strings.LastIndexByte(f.Name(), '/')+1:]) // else the sweep does
		}
	}
}

// room is nil if there is room for more bytes and uploads beside those there are.
func (s *Server) checkQuota(bytes int64, files int) error {
	err := forEachFile(s.unfinished, func(name string, info fs.FileInfo) error {
		if !strings.HasSuffix(name, stateSuffix) {
			bytes, files = bytes+info.Size(), files+1
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("look at unfinished uploads: %w", err)
	}
	if bytes > s.opts.MaxUnfinished || files > s.opts.MaxUploads {
		return &requestError{status: http.StatusInsufficientStorage, reason: "too much is unfinished here, try again later",
			header: [][2]string{{"Retry-After", "60"}}}
	}
	return nil
}

// drop ends an upload that is not published and frees its bytes.
func (e *entry) discard(ctx context.Context, why string) error {
	e.server.log.InfoContext(ctx, "upload dropped", "upload", e.ID, "directory", e.Directory, "filename", e.Filename,
		"offset", e.Offset, "reason", why)
	e.Phase, e.Hash = phaseDiscarded, nil
	return e.archive(ctx)
}

// retire notes the last progress and keeps no more of the upload than that.
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
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // it has been there already
			return fmt.Errorf("move state: %w", err)
		}
		return nil
	})
}

// save makes the progress durable. If that fails the slot may be torn, and the next
// try goes there again: the other one holds what counts.
func (e *entry) saveProgress() error {
	next := e.progress
	next.Seq++
	if err := writeProgress(e.state, next); err != nil {
		return err
	}
	e.Seq = next.Seq
	return nil
}

// file is the upload as it was stored.
func (e *entry) file() uploads.File {
	f := uploads.NewFile(e.Directory, e.Filename, nil)
	f.ID, f.Size, f.SHA256, f.StoredErr = e.ID, e.Length, e.Sum, e.storedErr
	return f
}

// stored is file, or nil if the upload is not stored.
func (e *entry) storedFile() *uploads.File {
	if e.Phase != phaseStored {
		return nil
	}
	f := e.file()
	return &f
}
