package s3

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/galeserver/gale/uploads/tus"
)

// seen is what a sweep knows of a state. Without a change of the ETag it is not read again.
type seen struct {
	etag  string
	state tus.State // without the large fields
	lost  bool      // the state is unreadable
}

// sweepLock is the name of the lock of the process that sweeps. It is not an id.
const sweepLock = "sweep"

// Sweep implements tus.Place. It lists the states, and reads those that have changed.
func (r *Resumable) Sweep(ctx context.Context, retention time.Duration, visit func(tus.Held, tus.State) error) error {
	lock, err := r.locks.Try(ctx, sweepLock)
	if err != nil {
		return lockError(ctx, err)
	}
	if lock == nil {
		return nil
	}
	defer lock.Release()
	counted, err := r.quota.counted(ctx)
	if err != nil {
		return err
	}
	objects, err := r.list(ctx, r.bucket.prefix+stateObjects)
	if err != nil {
		return err
	}
	now, unfinished := map[string]seen{}, map[string]int64{}
	var failed error
	for _, object := range objects {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		id := path.Base(object.Key)
		s, err := r.look(ctx, id, object)
		if err == nil {
			now[id] = s
			if s.state.Phase == tus.PhaseUnfinished && !s.lost {
				unfinished[id] = max(s.state.Length, s.state.Offset)
			}
			err = r.sweepOne(ctx, id, s, time.Since(object.LastModified), retention, visit)
		}
		if err != nil && !errors.Is(err, tus.ErrNotFound) {
			failed = errors.Join(failed, fmt.Errorf("upload %s: %w", id, err))
		}
	}
	r.mu.Lock()
	r.seen = now
	r.mu.Unlock()
	return errors.Join(failed, r.quota.repair(ctx, counted, unfinished))
}

// look returns what is known of a listed state, or reads it.
func (r *Resumable) look(ctx context.Context, id string, object minio.ObjectInfo) (seen, error) {
	r.mu.Lock()
	known, ok := r.seen[id]
	r.mu.Unlock()
	if ok && known.etag == object.ETag {
		return known, nil
	}
	s, etag, err := r.readState(ctx, id)
	if err != nil && !errors.Is(err, tus.ErrUnreadable) {
		return seen{}, err
	}
	s.Hash, s.Metadata, s.Directory, s.Filename, s.Parts = nil, "", "", "", nil
	return seen{etag: etag, state: s.State, lost: err != nil}, nil
}

// lostAge is the age at which an unreadable state is removed.
const lostAge = time.Hour

// sweepOne does what is due for an upload, unless a request holds it.
func (r *Resumable) sweepOne(ctx context.Context, id string, s seen, age, retention time.Duration, visit func(tus.Held, tus.State) error) error {
	ended := !s.lost && s.state.Phase != tus.PhaseUnfinished
	if s.lost && age < lostAge || ended && age < retention || !s.lost && !ended && !s.state.Due(time.Now()) {
		return nil
	}
	lock, err := r.locks.Try(ctx, id)
	if err != nil {
		return lockError(ctx, err)
	}
	if lock == nil {
		return nil
	}
	if s.lost || ended {
		defer lock.Release()
		return r.removeState(ctx, id, s.etag)
	}
	h, err := r.hold(ctx, id, lock)
	if err != nil {
		return err
	}
	defer h.Close()
	return visit(h, h.saved.State)
}

// removeState removes all that is left of an upload, unless its state has changed.
func (r *Resumable) removeState(ctx context.Context, id, etag string) error {
	s, now, err := r.readState(ctx, id)
	if err != nil && !errors.Is(err, tus.ErrUnreadable) || now != etag {
		return err
	}
	if err != nil {
		r.bucket.log.WarnContext(ctx, "upload lost", "upload", id, "error", err)
	}
	if s.Upload != "" && s.Phase != tus.PhaseStored {
		r.bucket.abort(ctx, s.Key, s.Upload)
	}
	if err := r.removeFolder(ctx, r.dataFolder(id)); err != nil {
		return err
	}
	return r.bucket.removeObject(ctx, r.stateKey(id))
}

// removeOrphans removes old bytes of uploads that have no state: a process that was suspended
// has written them after the end of the upload.
func (r *Resumable) removeOrphans(ctx context.Context) error {
	objects, err := r.list(ctx, r.bucket.prefix+dataObjects)
	if err != nil {
		return err
	}
	for _, object := range objects {
		id := path.Base(path.Dir(object.Key))
		if time.Since(object.LastModified) <= r.bucket.opts.Expiry || ctx.Err() != nil {
			continue
		}
		_, err := r.bucket.stat(ctx, r.stateKey(id))
		if errors.Is(err, fs.ErrNotExist) {
			err = r.bucket.removeObject(ctx, object.Key)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// multiparts returns the ids of the multipart uploads of unfinished uploads.
func (r *Resumable) multiparts(ctx context.Context) (map[string]bool, error) {
	objects, err := r.list(ctx, r.bucket.prefix+stateObjects)
	if err != nil {
		return nil, err
	}
	all := map[string]bool{}
	for _, object := range objects {
		s, _, err := r.readState(ctx, path.Base(object.Key))
		switch {
		case err == nil && s.Phase == tus.PhaseUnfinished:
			all[s.Upload] = true
		case err != nil && !errors.Is(err, tus.ErrNotFound) && !errors.Is(err, tus.ErrUnreadable):
			return nil, err
		}
	}
	return all, nil
}
