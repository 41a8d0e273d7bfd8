package s3

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/galeserver/gale/internal/redislock"
	"github.com/galeserver/gale/uploads"
	"github.com/galeserver/gale/uploads/tus"
)

// resumed is a held upload. It implements tus.Held.
type resumed struct {
	place  *Resumable
	lock   *redislock.Lock
	saved  state  // the state in the bucket
	etag   string // ETag of the state
	taken  bool   // another holder has replaced the state
	writer *resumedWriter
}

// A checkpoint is saved after resumePaceParts full parts, or after resumePaceTime. It takes
// two requests, during which nothing is received.
const (
	resumePaceParts = 4
	resumePaceTime  = 5 * time.Second
)

// reservedParts is the number of part numbers that are reserved at once. A killed process may
// waste them; there are 10,000.
const reservedParts = 2 * resumePaceParts

// maxPart is the highest number of a part.
const maxPart = 10_000

// Wanted implements tus.Held.
func (h *resumed) Wanted() bool { return h.lock.Wanted() }

// Close implements tus.Held.
func (h *resumed) Close() { h.lock.Release() }

// Reserve implements tus.Held.
func (h *resumed) Reserve(ctx context.Context, length int64, l tus.Limits) error {
	if err := h.place.checkLength(ctx, length); err != nil {
		return err
	}
	return h.place.quota.reserve(ctx, h.saved.ID, max(length, h.saved.Offset), l)
}

// Resume implements tus.Held.
func (h *resumed) Resume(ctx context.Context) (*uploads.Upload, tus.Pace, error) {
	pace := tus.Pace{Bytes: resumePaceParts * h.place.bucket.opts.PartSize, Time: resumePaceTime}
	w := &resumedWriter{
		held: h, bucket: h.place.bucket, size: h.saved.Offset,
		key: h.saved.Key, uploadID: h.saved.Upload, sent: slices.Clone(h.saved.Sent), used: h.saved.Used,
	}
	var err error
	if len(h.saved.Parts) > 0 && h.saved.Offset < h.saved.Length {
		if w.sources, err = h.place.sources(ctx, h.saved); err != nil {
			return nil, pace, err
		}
	}
	u, err := h.place.store.ResumeWriter(h.saved.ID, w, h.saved.Checkpoint())
	if err != nil {
		h.place.bucket.log.ErrorContext(ctx, "upload lost", "upload", h.saved.ID, "error", err)
		return nil, pace, tus.ErrUnreadable
	}
	h.writer = w
	return u, pace, nil
}

// Save implements tus.Held.
func (h *resumed) Save(ctx context.Context, p tus.Progress) error {
	next := h.saved
	next.Progress = p
	if p.Phase == tus.PhaseUnfinished && p.Offset != h.saved.Offset {
		switch {
		case h.writer != nil && h.writer.failed != nil:
			return h.writer.failed
		case h.writer == nil || h.writer.size != p.Offset:
			return fmt.Errorf("save upload: offset %d was not received", p.Offset)
		}
		var err error
		if next.Tail, err = h.writer.flush(ctx); err != nil {
			return err
		}
		next.Key, next.Upload, next.Sent, next.Used = h.writer.key, h.writer.uploadID, slices.Clone(h.writer.sent), h.writer.used
	}
	before := h.saved.Tail
	if err := h.write(ctx, next); err != nil {
		return err
	}
	switch {
	case p.Phase != tus.PhaseUnfinished:
		h.place.quota.release(ctx, h.saved.ID)
		h.place.removeData(ctx, h.saved)
		return nil
	case before.Key != "" && before.Key != next.Tail.Key:
		h.place.bucket.background.Go(func() { // Bucket.Close waits for it
			_ = h.place.bucket.removeObject(context.WithoutCancel(ctx), before.Key) // else removed with the upload
		})
	}
	if p.Length < 0 {
		h.place.quota.set(ctx, h.saved.ID, p.Offset)
	}
	return nil
}

// write replaces the saved state.
func (h *resumed) write(ctx context.Context, next state) error {
	if h.taken {
		return tus.ErrTaken
	}
	next.Seq = h.saved.Seq + 1
	etag, err := h.place.writeState(ctx, next, h.etag)
	if h.taken = errors.Is(err, tus.ErrTaken); h.taken {
		h.place.bucket.log.WarnContext(ctx, "upload was taken over, bytes after its last checkpoint are not saved", "upload", next.ID, "offset", h.saved.Offset)
	}
	if err != nil {
		return err
	}
	h.saved, h.etag = next, etag
	return nil
}

// reserve ensures that this holder may use the next part number, and returns it. uploadID is
// the multipart upload.
func (h *resumed) reserve(ctx context.Context, key, uploadID string, used int) (number int, err error) {
	if h.taken {
		return 0, tus.ErrTaken
	}
	number = used + 1
	if number > maxPart {
		return 0, uploads.WithReason(uploads.ErrTooLarge, "the upload has too many parts")
	}
	if number > h.saved.Used || uploadID != h.saved.Upload {
		next := h.saved
		next.Key, next.Upload, next.Used = key, uploadID, max(next.Used, used)+reservedParts
		if err := h.write(ctx, next); err != nil {
			return 0, err
		}
	}
	return number, nil
}
