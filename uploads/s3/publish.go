package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net/http"
	"path"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/galeserver/gale/internal/sleep"
	"github.com/galeserver/gale/uploads"
)

// maxPublishDelay is the longest time between Finish and Publish. The record of a file
// that does not exist is kept much longer (maxRecordAge), so a process that was stopped in
// between cannot store a file whose record is gone.
const maxPublishDelay = time.Hour

// completeRate is the number of bytes of a file for which completing it may take a second
// longer. Some services copy the parts.
const completeRate = 32 << 20

// conflicts is the number of attempts to store an object while other requests for the same
// key are in progress (409 ConditionalRequestConflict).
const conflicts = 10

// conflictWait is the time between two of these attempts.
const conflictWait = 100 * time.Millisecond

// Publish implements uploads.Writer.
func (w *writer) Publish(ctx context.Context, directory, filename string) (err error) {
	key, err := w.bucket.key(directory, filename)
	if err != nil {
		return err
	}
	o := newObject{w.id, key, directory, filename, w.hidden}
	err = w.bucket.publish(ctx, o, w.ended, func() error { return w.storeObject(ctx, key) })
	if err == nil {
		w.uploadID = "" // nothing is left to abort
	}
	return err
}

// newObject is an object that gets its name.
type newObject struct {
	id, key             string // of the upload; of the object
	directory, filename string
	hidden              bool // in quarantine
}

// metadata returns the metadata of an object.
func metadata(id string, hidden bool) map[string]string {
	m := map[string]string{metaID: id}
	if hidden {
		m[metaHidden] = "1"
	}
	return m
}

// publish stores an object by calling store, unless there is another one. ended is the time of
// Finish.
func (b *Bucket) publish(ctx context.Context, o newObject, ended time.Time, store func() error) (err error) {
	if o.hidden {
		if err := b.mark(ctx, o); err != nil {
			return err
		}
		defer func() {
			if err != nil && !errors.Is(err, uploads.ErrUnavailable) {
				b.unmark(ctx, o)
			}
		}()
	}
	for range conflicts {
		if time.Since(ended) > maxPublishDelay {
			return fmt.Errorf("store object: %w: the process was stopped too long", uploads.ErrUnavailable)
		}
		var again bool
		if again, err = b.tryPublish(ctx, o.key, o.id, store); !again {
			break
		}
		if !sleep.For(ctx, conflictWait) {
			return context.Cause(ctx)
		}
	}
	return err
}

// tryPublish makes one attempt to store the object. again is true if another one may succeed.
func (b *Bucket) tryPublish(ctx context.Context, key, id string, store func() error) (again bool, err error) {
	err = store()
	switch {
	case err == nil:
		return false, nil
	case hasStatus(err, http.StatusConflict) && !errors.Is(err, uploads.ErrExists):
		return true, fmt.Errorf("%w: %w", uploads.ErrUnavailable, err)
	case hasStatus(err, http.StatusConflict):
		return b.isFree(ctx, key), err
	case hasStatus(err, http.StatusPreconditionFailed), hasStatus(err, http.StatusNotFound), errors.Is(err, uploads.ErrUnavailable):
		// An earlier attempt, whose response was lost, may have stored it.
		info, errStat := b.stat(ctx, key)
		exists := uploads.WithReason(uploads.ErrExists, key[len(b.prefix):])
		switch {
		case errStat == nil && info.UserMetadata[metaID] == id:
			return false, nil
		case errStat == nil && !b.opts.Replace:
			return false, exists
		case errors.Is(errStat, uploads.ErrUnavailable):
			return false, errStat
		case errors.Is(errStat, fs.ErrNotExist) && hasStatus(err, http.StatusPreconditionFailed):
			return true, exists // the other object has been removed in the meantime
		}
	}
	return false, err
}

// isFree reports whether there is neither an object nor a folder with a name that the service
// has refused: see retryConflict.
func (b *Bucket) isFree(ctx context.Context, key string) bool {
	if _, err := b.stat(ctx, key); !errors.Is(err, fs.ErrNotExist) {
		return false
	}
	ctx, end := b.operation(ctx, 0)
	defer end()
	next, stop := iter.Pull(b.client.ListObjectsIter(ctx, b.name, minio.ListObjectsOptions{Prefix: key + "/", MaxKeys: 1}))
	defer stop()
	if _, found := next(); found {
		return false // an object below it, or an error
	}
	for parent := path.Dir(key); len(parent) > len(b.prefix); parent = path.Dir(parent) {
		if _, err := b.stat(ctx, parent); !errors.Is(err, fs.ErrNotExist) {
			return false // a file that has the name of a folder
		}
	}
	return true
}

// condition returns the options of the request that stores an object.
func (b *Bucket) condition(metadata map[string]string) minio.PutObjectOptions {
	if !b.opts.Replace {
		return onlyNew(metadata)
	}
	o := verified()
	o.UserMetadata = metadata
	return o
}

// storeObject stores the object by one request. The service refuses that if there is one,
// unless Options.Replace is set.
func (w *writer) storeObject(ctx context.Context, key string) error {
	b := w.bucket
	if w.uploadID == "" {
		ctx, end := b.operation(ctx, 0)
		defer end()
		m := metadata(w.id, w.hidden)
		m[metaSum] = w.sum
		_, err := b.client.PutObject(ctx, b.name, key, io.NewSectionReader(w.part.file, 0, w.part.size), w.part.size, "", w.sum, b.condition(m))
		return failure(ctx, "store object", err)
	}
	ctx, end := b.operation(ctx, time.Duration(w.size()/completeRate)*time.Second)
	defer end()
	_, err := b.client.CompleteMultipartUpload(ctx, b.name, key, w.uploadID, w.parts(), b.condition(nil))
	return failure(ctx, "complete object", err)
}

// size returns the size of the file in bytes.
func (w *writer) size() (n int64) {
	for number := 1; number < w.part.number; number++ {
		n += w.bucket.opts.PartSize << ((number - 1) / 1000)
	}
	return n + w.part.size
}

// abort removes the parts of a multipart upload.
func (b *Bucket) abort(ctx context.Context, key, uploadID string) {
	ctx, end := b.operation(ctx, 0)
	defer end()
	err := b.client.AbortMultipartUpload(ctx, b.name, key, uploadID)
	var response minio.ErrorResponse
	if err == nil || errors.As(err, &response) && response.Code == "NoSuchUpload" {
		return
	}
	b.log.Warn("parts of an upload not removed, will retry later", "key", key, "after", b.opts.Expiry.String(), "error", failure(ctx, "abort multipart upload", err))
}
