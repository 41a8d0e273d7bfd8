package tus

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"time"

	"github.com/galeserver/gale/uploads"
)

// folderUpload is a held upload in a Folder. It implements Held.
type folderUpload struct {
	folder  *Folder
	state   *os.File        // locked
	data    *os.File        // nil until openData is called
	saved   State           // what the state file contains
	upload  *uploads.Upload // the last one that Resume has returned
	syncErr error           // error of the first failed sync; bytes after the last checkpoint may be lost
}

// A checkpoint of a Folder is saved about every second, while the next bytes are received.
const (
	folderPaceBytes = 64 << 20
	folderPaceTime  = time.Second
)

// Close implements Held. It releases the lock.
func (u *folderUpload) Close() {
	_ = u.state.Close() // writes are synced before
	if u.data != nil {
		_ = u.data.Close()
	}
}

// Wanted implements Held.
func (u *folderUpload) Wanted() bool { return takeoverRequested(u.state) }

// openData opens the data file.
func (u *folderUpload) openData() error {
	if u.data != nil {
		return nil
	}
	f, err := u.folder.unfinished.OpenFile(u.saved.ID, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("open data: %w", err)
	}
	u.data = f
	return nil
}

// Resume implements Held.
func (u *folderUpload) Resume(ctx context.Context) (*uploads.Upload, Pace, error) {
	pace := Pace{Bytes: folderPaceBytes, Time: folderPaceTime, Overlap: true}
	if err := u.openData(); err != nil {
		return nil, pace, err
	}
	var err error
	u.upload, err = u.folder.store.Resume(ctx, u.data, folderName+"/"+unfinishedName+"/"+u.saved.ID, u.saved.Checkpoint())
	return u.upload, pace, err
}

// Reserve implements Held. The size of the sparse data file counts for the limits.
func (u *folderUpload) Reserve(ctx context.Context, length int64, l Limits) error {
	if length < 0 {
		return u.folder.store.DoWait(ctx, func() error { return u.folder.checkQuota(0, 0, l) })
	}
	if err := u.openData(); err != nil {
		return err
	}
	return u.folder.store.DoWait(ctx, func() error {
		info, err := u.data.Stat()
		if err != nil {
			return fmt.Errorf("stat data: %w", err)
		}
		dir, err := u.folder.lockIfRoom(length-info.Size(), 0, l)
		if err != nil {
			return err
		}
		defer func() { _ = dir.Close() }()              // also releases the lock
		if err := u.data.Truncate(length); err != nil { // may cut bytes after Offset, which were never acknowledged
			return fmt.Errorf("set size of data: %w", err)
		}
		return nil
	})
}

// Save implements Held. If a sync fails the previous checkpoint stays valid, and this request
// saves no other one: bytes may be lost even if the next sync succeeds (fsync(2)).
//
// If the write fails, the written slot may be invalid. The sequence number is not changed
// then, so that the next call overwrites that slot and not the valid one.
func (u *folderUpload) Save(ctx context.Context, p Progress) error {
	return u.folder.store.DoWait(ctx, func() error {
		if p.Offset != u.saved.Offset && u.upload != nil {
			if u.syncErr == nil {
				u.syncErr = u.upload.Sync()
			}
			if u.syncErr != nil {
				return u.syncErr
			}
		}
		p.Seq = u.saved.Seq + 1
		if err := writeProgress(u.state, p); err != nil {
			return err
		}
		u.saved.Progress = p
		if p.Phase == PhaseUnfinished {
			return nil
		}
		return u.archive()
	})
}

// archive removes the data and moves the state file to the folder of ended uploads.
func (u *folderUpload) archive() error {
	if err := u.folder.unfinished.Remove(u.saved.ID); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove data: %w", err)
	}
	name := u.saved.ID + stateSuffix
	err := u.folder.private.Rename(unfinishedName+"/"+name, endedName+"/"+name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // fs.ErrNotExist: it was moved before
		return fmt.Errorf("move state: %w", err)
	}
	return nil
}

func (u *folderUpload) createFiles() (err error) {
	const flags = os.O_RDWR | os.O_CREATE | os.O_EXCL
	if u.state, err = u.folder.unfinished.OpenFile(u.saved.ID+stateSuffix, flags, 0o600); err != nil {
		return err
	}
	if _, err = tryLock(u.state, ownerByte); err != nil { // always succeeds: the file is new
		return err
	}
	if u.data, err = u.folder.unfinished.OpenFile(u.saved.ID, flags, 0o640); err != nil {
		return err
	}
	// The size of the sparse file counts for the limits.
	if err = u.data.Truncate(max(u.saved.Length, 0)); err != nil {
		return err
	}
	return writeState(u.state, u.saved.Attributes, u.saved.Progress)
}

// removeFiles removes the files that createFiles has created.
func (u *folderUpload) removeFiles() {
	for _, f := range []*os.File{u.data, u.state} {
		if f != nil {
			_ = f.Close()
			_ = u.folder.unfinished.Remove(path.Base(f.Name())) // after an error the sweep removes it
		}
	}
}
