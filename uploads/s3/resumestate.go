package s3

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"slices"

	"github.com/minio/minio-go/v7"

	"github.com/galeserver/gale/uploads"
	"github.com/galeserver/gale/uploads/tus"
)

// state is the state of an upload, as JSON in an object. The parts and the tail together are
// the bytes up to the offset.
type state struct {
	tus.State
	Key    string     `json:"key,omitempty"`  // key of the multipart upload
	Upload string     `json:"upload"`         // id of the multipart upload; empty if there is none
	Sent   []sentPart `json:"sent,omitempty"` // in the order of the numbers
	Tail   tail       `json:"tail"`
	// Used is the highest part number that a holder may have used. Another one uses
	// higher ones, because a part replaces an earlier one of the same number.
	Used int `json:"used,omitempty"`
}

// sentPart is a part of a multipart upload.
type sentPart struct {
	Number int    `json:"n"`
	ETag   string `json:"e"`
	Size   int64  `json:"s"`
}

// tail is the object with the last bytes, which are too few for a part. Key is empty if there
// are none.
type tail struct {
	Key  string `json:"key,omitempty"`
	Size int64  `json:"size,omitempty"`
}

// received returns the number of bytes in the parts.
func (s state) received() (n int64) {
	for _, p := range s.Sent {
		n += p.Size
	}
	return n
}

// completeParts returns the parts for the request that completes the multipart upload.
func completeParts(sent []sentPart) (all []minio.CompletePart) {
	for _, p := range sent {
		all = append(all, minio.CompletePart{PartNumber: p.Number, ETag: p.ETag})
	}
	return all
}

// maxState is the size limit of a state, in bytes. It is larger than one with 10,000 parts.
const maxState = 4 << 20

func (r *Resumable) stateKey(id string) string { return r.bucket.prefix + stateObjects + id }

// dataFolder returns the begin of the keys of the objects with bytes of an upload.
func (r *Resumable) dataFolder(id string) string { return r.bucket.prefix + dataObjects + id + "/" }

// readState returns the state of an upload, and its ETag. The error is tus.ErrNotFound or
// tus.ErrUnreadable, or one of the service.
func (r *Resumable) readState(ctx context.Context, id string) (s state, etag string, err error) {
	text, etag, err := r.readStateText(ctx, id)
	if err != nil {
		return s, "", err
	}
	if json.Unmarshal(text, &s) != nil || s.ID != id || s.Phase == tus.PhaseUnfinished && s.received()+s.Tail.Size != s.Offset {
		return s, etag, tus.ErrUnreadable
	}
	return s, etag, nil
}

func (r *Resumable) readStateText(ctx context.Context, id string) (text []byte, etag string, err error) {
	ctx, end := r.bucket.operation(ctx, 0)
	defer end()
	body, info, _, err := r.bucket.client.GetObject(ctx, r.bucket.name, r.stateKey(id), minio.GetObjectOptions{})
	if err != nil {
		err = failure(ctx, "read state", err)
		if errors.Is(err, fs.ErrNotExist) {
			err = tus.ErrNotFound
		}
		return nil, "", err
	}
	defer body.Close() //nolint:errcheck // read only
	text, err = io.ReadAll(io.LimitReader(body, maxState))
	return text, info.ETag, failure(ctx, "read state", err)
}

// writeState writes a state, and returns its ETag. It replaces the state with that ETag; if
// the text is empty there must be none. Otherwise the error is tus.ErrTaken.
func (r *Resumable) writeState(ctx context.Context, s state, replaced string) (etag string, err error) {
	text, err := json.Marshal(s)
	if err != nil {
		return "", fmt.Errorf("encode state: %w", err)
	}
	if replaced != "" && !r.bucket.matches() {
		// A lock protects the state between this request and the next one.
		if object, err := r.bucket.stat(ctx, r.stateKey(s.ID)); err != nil || object.ETag != replaced {
			return "", takenError(err)
		}
	}
	etag, err = r.putState(ctx, s.ID, text, replaced)
	if err == nil || !refused(err) && !errors.Is(err, uploads.ErrUnavailable) {
		return etag, err
	}
	// An earlier attempt, whose response was lost, may have written it.
	saved, etag, errRead := r.readStateText(context.WithoutCancel(ctx), s.ID)
	switch {
	case errRead == nil && bytes.Equal(saved, text):
		return etag, nil
	case refused(err) && errRead != nil:
		return "", takenError(errRead)
	case refused(err):
		return "", tus.ErrTaken
	}
	return "", err
}

// takenError returns the error for a state that was replaced by another holder. err is the
// error of the request for the state.
func takenError(err error) error {
	if err == nil || errors.Is(err, fs.ErrNotExist) || errors.Is(err, tus.ErrNotFound) {
		return tus.ErrTaken
	}
	return err
}

// refused reports whether the service has refused a write because its condition is not met,
// or because of another write at the same time.
func refused(err error) bool {
	return hasStatus(err, http.StatusPreconditionFailed) || hasStatus(err, http.StatusConflict) || hasStatus(err, http.StatusNotFound)
}

func (r *Resumable) putState(ctx context.Context, id string, text []byte, replaced string) (etag string, err error) {
	ctx, end := r.bucket.operation(ctx, 0)
	defer end()
	o := onlyNew(nil)
	if replaced != "" {
		o = verified()
		if r.bucket.matches() {
			o.SetMatchETag(replaced)
		}
	}
	info, err := r.bucket.client.PutObject(ctx, r.bucket.name, r.stateKey(id), bytes.NewReader(text), int64(len(text)), "", sumHex(string(text)), o)
	return info.ETag, failure(ctx, "write state", err)
}

// removeData removes the bytes of an upload. What cannot be removed is left to a sweep.
func (r *Resumable) removeData(ctx context.Context, s state) {
	ctx = context.WithoutCancel(ctx)
	r.bucket.background.Go(func() { // Bucket.Close waits for it
		if s.Upload != "" && s.Phase != tus.PhaseStored {
			r.bucket.abort(ctx, s.Key, s.Upload)
		}
		if err := r.removeFolder(ctx, r.dataFolder(s.ID)); err != nil {
			r.bucket.log.WarnContext(ctx, "data of an ended upload not removed, will retry", "upload", s.ID, "error", err)
		}
	})
}

// removeFolder removes all objects whose keys begin with folder.
func (r *Resumable) removeFolder(ctx context.Context, folder string) error {
	found, err := r.list(ctx, folder)
	for _, object := range found {
		err = errors.Join(err, r.bucket.removeObject(ctx, object.Key))
	}
	return err
}

// list returns all objects whose keys begin with folder.
func (r *Resumable) list(ctx context.Context, folder string) (found []minio.ObjectInfo, err error) {
	ctx, end := r.bucket.operation(ctx, 0)
	defer end()
	for object := range r.bucket.client.ListObjectsIter(ctx, r.bucket.name, minio.ListObjectsOptions{Prefix: folder, Recursive: true}) {
		if object.Err != nil {
			return nil, failure(ctx, "list uploads", object.Err)
		}
		found = append(found, object)
	}
	return slices.Clip(found), nil
}
