package tus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/galeserver/gale/uploads"
)

// Folder is a Place in a private folder of a store on a folder. An upload has two files: the
// data and the state. NewFolder makes one.
type Folder struct {
	store      *uploads.Store
	log        *slog.Logger
	private    *os.Root // private folder of the store
	unfinished *os.Root // folder in it for the files of unfinished uploads
	ended      *os.Root // folder in it for the state of uploads that have ended
}

// Names of the private folder of the store, and of the folders in it.
const (
	folderName     = ".resumable"
	unfinishedName = "open"
	endedName      = "done"
)

// stateSuffix is the suffix of the name of a state file. The rest of the name is the id,
// which is the name of the data file.
const stateSuffix = ".state"

// NewFolder returns a Folder in the folder of store, which uploads.Open has opened. Close
// closes it. log gets a line for each upload that is lost; nil: nothing is logged.
func NewFolder(store *uploads.Store, log *slog.Logger) (*Folder, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	f := &Folder{store: store, log: log}
	if err := f.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("open resumable uploads: %w", err), f.Close())
	}
	return f, nil
}

func (f *Folder) open() (err error) {
	if f.private, err = f.store.PrivateFolder(folderName); err != nil {
		return err
	}
	for name, root := range map[string]**os.Root{unfinishedName: &f.unfinished, endedName: &f.ended} {
		if err := f.private.Mkdir(name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		if *root, err = f.private.OpenRoot(name); err != nil {
			return err
		}
	}
	dir, err := f.private.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// Close closes the folder. Nothing may be held.
func (f *Folder) Close() (err error) {
	for _, root := range []*os.Root{f.unfinished, f.ended, f.private} {
		if root != nil {
			err = errors.Join(err, root.Close())
		}
	}
	return err
}

// find opens the state file of an upload, unfinished or ended.
func (f *Folder) find(id string) (*os.File, error) {
	if !validID(id) {
		return nil, ErrNotFound
	}
	file, err := f.unfinished.OpenFile(id+stateSuffix, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) { // ended, perhaps a moment ago
		file, err = f.ended.OpenFile(id+stateSuffix, os.O_RDWR, 0)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("open state: %w", err)
	}
	return file, nil
}

// Hold implements Place.
func (f *Folder) Hold(ctx context.Context, id string) (Held, State, error) {
	file, err := f.find(id)
	if err != nil {
		return nil, State{}, err
	}
	u := &folderUpload{folder: f, state: file}
	if err = lock(ctx, file); err == nil {
		// Read the state only now: the previous owner of the lock may have changed it.
		u.saved, err = readState(file)
	}
	if err != nil {
		u.Close()
		return nil, State{}, err
	}
	return u, u.saved, nil
}

// Look implements Place.
func (f *Folder) Look(_ context.Context, id string) (State, error) {
	file, err := f.find(id)
	if err != nil {
		return State{}, err
	}
	defer func() { _ = file.Close() }() // only read from
	return readState(file)
}

// content is the rest of a file.
type content struct {
	io.Reader
	io.Closer
}

// Open implements Place.
func (f *Folder) Open(_ context.Context, id string, from int64) (io.ReadCloser, error) {
	s, err := f.Look(context.Background(), id)
	if err != nil {
		return nil, err
	}
	file, err := f.unfinished.Open(id)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("open data: %w", err)
	}
	return content{io.NewSectionReader(file, from, s.Length-from), file}, nil
}

// Create implements Place. It holds one lock while it checks the limits and creates the
// files, so that concurrent requests cannot exceed them.
func (f *Folder) Create(ctx context.Context, s State, l Limits) (Held, error) {
	u := &folderUpload{folder: f, saved: s}
	err := f.store.Do(ctx, func() error {
		dir, err := f.lockIfRoom(max(s.Length, 0), 1, l)
		if err != nil {
			return err
		}
		defer func() { _ = dir.Close() }() // also releases the lock
		if err = u.createFiles(); err == nil {
			err = dir.Sync()
		}
		if err != nil {
			u.removeFiles()
		}
		if errors.Is(err, fs.ErrExist) {
			return ErrHeld // another request is creating the same final upload
		}
		if err != nil {
			return fmt.Errorf("create upload: %w", err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return u, nil
}

// lockIfRoom checks whether this number of bytes and of uploads can be added without
// exceeding the limits. It returns the open folder; until the caller closes it, no other
// request can add any.
func (f *Folder) lockIfRoom(bytes int64, files int, l Limits) (*os.File, error) {
	dir, err := f.unfinished.Open(".")
	if err != nil {
		return nil, fmt.Errorf("open folder: %w", err)
	}
	if err = unix.Flock(int(dir.Fd()), unix.LOCK_EX); err != nil {
		err = fmt.Errorf("lock folder: %w", err)
	} else {
		err = f.checkQuota(bytes, files, l)
	}
	if err != nil {
		_ = dir.Close()
		return nil, err
	}
	return dir, nil
}

// checkQuota returns an error if that many more bytes and uploads would exceed the limits.
func (f *Folder) checkQuota(bytes int64, files int, l Limits) error {
	err := forEachFile(f.unfinished, func(name string, info fs.FileInfo) error {
		if !strings.HasSuffix(name, stateSuffix) {
			bytes, files = bytes+info.Size(), files+1
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("count unfinished uploads: %w", err)
	}
	if bytes > l.Bytes || files > l.Uploads {
		return ErrFull
	}
	return nil
}
