package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/galeserver/gale/internal/redislock"
	"github.com/galeserver/gale/uploads"
	"github.com/galeserver/gale/uploads/tus"
)

// Resumable keeps unfinished uploads of package tus in the bucket, so that a client can resume an
// upload on any machine. Bucket.Resumable makes one. It implements tus.Place.
//
// The state of an upload is an object below .resumable/state/. Its received bytes are parts of
// a multipart upload, which becomes the file, and the rest, of less than 5 MiB, is an object
// below .resumable/data/:
//
//	temporary file ── each full part ──────────► UploadPart
//	                └ the rest, at a checkpoint ► PutObject .resumable/data/ID/…
//	                                              PutObject .resumable/state/ID (If-Match)
//
// A request that uses an upload holds a lock in Redis, for which another request can ask it.
// The lock of a killed process expires. What protects the upload is the condition of each
// write of the state: it must replace the state that the writer has read or written before. So
// a process that was stopped, and goes on after its lock has expired, cannot set the offset
// back. Nor can it change bytes that the state counts: before parts are sent, the state
// reserves their numbers, and another holder uses other ones.
type Resumable struct {
	bucket *Bucket
	store  *uploads.Store
	locks  *redislock.Locks
	quota  quota

	mu   sync.Mutex
	seen map[string]seen // by id; what the last sweep has read
}

// Parts of the prefix for resumable uploads. No upload can be stored there; see pending.
const (
	stateObjects = ".resumable/state/"
	dataObjects  = ".resumable/data/"
)

// Resumable returns the place for resumable uploads. store is the store on the backend of the
// bucket. rdb is shared by all processes that use the bucket and prefix.
func (b *Bucket) Resumable(store *uploads.Store, rdb redis.UniversalClient) *Resumable {
	name := b.name + "/" + b.prefix
	return &Resumable{
		bucket: b, store: store, locks: redislock.New(rdb, "upload:"+name, redislock.Options{}),
		quota: quota{rdb: rdb, key: "gale:uploads:" + name}, seen: map[string]seen{},
	}
}

// lockError returns the error of a request for a lock. Without Redis, clients may try again
// later.
func lockError(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && errors.Is(err, cause) {
		return err
	}
	return fmt.Errorf("hold upload: %w: %w", uploads.ErrUnavailable, err)
}

// Hold implements tus.Place.
func (r *Resumable) Hold(ctx context.Context, id string) (tus.Held, tus.State, error) {
	lock, err := r.locks.Acquire(ctx, id)
	if err != nil {
		return nil, tus.State{}, lockError(ctx, err)
	}
	h, err := r.hold(ctx, id, lock)
	if err != nil {
		return nil, tus.State{}, err
	}
	return h, h.saved.State, nil
}

// hold reads the state of a locked upload. After an error it releases the lock.
func (r *Resumable) hold(ctx context.Context, id string, lock *redislock.Lock) (*resumed, error) {
	saved, etag, err := r.readState(ctx, id)
	if err != nil {
		lock.Release()
		return nil, err
	}
	return &resumed{place: r, lock: lock, saved: saved, etag: etag}, nil
}

// Look implements tus.Place.
func (r *Resumable) Look(ctx context.Context, id string) (tus.State, error) {
	s, _, err := r.readState(ctx, id)
	return s.State, err
}

// Create implements tus.Place.
func (r *Resumable) Create(ctx context.Context, s tus.State, l tus.Limits) (tus.Held, error) {
	if err := r.checkLength(ctx, s.Length); err != nil {
		return nil, err
	}
	lock, err := r.locks.Try(ctx, s.ID)
	if err != nil {
		return nil, lockError(ctx, err)
	}
	if lock == nil {
		return nil, tus.ErrHeld
	}
	h := &resumed{place: r, lock: lock, saved: state{State: s}}
	if err := r.create(ctx, h, l); err != nil {
		lock.Release()
		return nil, err
	}
	return h, nil
}

// checkLength returns an error if no file can have that length, or if it is not known yet what
// the service can do.
func (r *Resumable) checkLength(ctx context.Context, length int64) error {
	streams, err := r.bucket.streams(ctx)
	if err == nil && !streams && length > maxSingle {
		return uploads.WithReason(uploads.ErrTooLarge, fmt.Sprintf("the size limit of an object without parts is %d bytes", int64(maxSingle)))
	}
	return err
}

// create writes the first state of a locked upload.
func (r *Resumable) create(ctx context.Context, h *resumed, l tus.Limits) error {
	id := h.saved.ID
	if err := r.quota.reserve(ctx, id, max(h.saved.Length, 0), l); err != nil {
		return err
	}
	etag, err := r.writeState(ctx, h.saved, "")
	if errors.Is(err, tus.ErrTaken) { // there is an upload of this id
		etag, err = r.replace(ctx, h)
	}
	if err != nil {
		if !errors.Is(err, tus.ErrHeld) { // then the reservation is that of the other upload
			r.quota.release(ctx, id)
		}
		return err
	}
	h.etag = etag
	return nil
}

// replace replaces an upload that was discarded or has expired.
func (r *Resumable) replace(ctx context.Context, h *resumed) (etag string, err error) {
	old, etag, err := r.readState(ctx, h.saved.ID)
	if err != nil {
		return "", err
	}
	if !old.Replaceable(time.Now()) {
		return "", tus.ErrHeld
	}
	h.saved.Seq = old.Seq + 1
	if etag, err = r.writeState(ctx, h.saved, etag); err == nil {
		r.removeData(ctx, old)
	}
	return etag, err
}

// Open implements tus.Place. The first Read asks for the content.
func (r *Resumable) Open(ctx context.Context, id string, from int64) (io.ReadCloser, error) {
	s, _, err := r.readState(ctx, id)
	if err != nil {
		return nil, err
	}
	key, err := r.assemble(ctx, s)
	if err != nil {
		return nil, err
	}
	c := &content{size: s.Length, at: from}
	if key == "" {
		return c, nil // an empty upload
	}
	object, err := r.bucket.stat(ctx, key)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, tus.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	c.get = func(at int64) (io.ReadCloser, error) { return r.bucket.get(ctx, key, object.ETag, at) }
	return c, nil
}
