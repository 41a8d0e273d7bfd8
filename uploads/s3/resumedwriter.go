package s3

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/galeserver/gale/uploads/tus"
)

// resumedWriter appends to a held upload. It implements uploads.Writer. One full part is sent
// while the next one is received.
type resumedWriter struct {
	held   *resumed
	bucket *Bucket
	size   int64  // bytes in all: those in parts, those in the buffer, and those being copied
	sum    string // hexadecimal SHA-256 of the whole file, known after Finish
	ended  time.Time
	hidden bool // in quarantine

	key      string // of the multipart upload
	uploadID string // of the multipart upload; empty before the first part
	sent     []sentPart
	used     int // highest number of a part

	buffer  *part         // the last bytes, in a temporary file; nil before it is needed
	loaded  bool          // the bytes of the saved tail are in the buffer, or were
	sending chan sendDone // result of the part that is being sent; nil if there is none

	sources []source // objects that the next bytes are copied from; see copyNext
	copying int64    // number of bytes up to size that are still to be copied
	failed  error    // first error; nothing more can be written after it
}

type sendDone struct {
	part sentPart
	err  error
}

// Hide implements uploads.Writer.
func (w *resumedWriter) Hide(context.Context) error {
	w.hidden = true
	return nil
}

// Write implements uploads.Writer. The end of ctx does not stop it half way, so that what was
// received can be saved; each request has a time limit of its own.
func (w *resumedWriter) Write(ctx context.Context, p []byte) (total int, err error) {
	if w.failed != nil {
		return 0, w.failed
	}
	ctx = context.WithoutCancel(ctx)
	for len(p) > 0 && err == nil {
		var n int
		if n, err = w.copyNext(ctx, p); n == 0 && err == nil {
			n, err = w.append(ctx, p)
			w.size += int64(n)
		}
		total += n
		p = p[n:]
	}
	w.failed = err
	return total, err
}

// append appends some bytes of p to the buffer, and begins to send it first if it is full.
func (w *resumedWriter) append(ctx context.Context, p []byte) (int, error) {
	if err := w.load(ctx); err != nil {
		return 0, err
	}
	if w.buffer.size >= w.buffer.limit {
		if err := w.sendBuffer(ctx); err != nil {
			return 0, err
		}
		if err := w.load(ctx); err != nil {
			return 0, err
		}
	}
	return w.bucket.writePart(ctx, w.buffer, p[:min(int64(len(p)), w.buffer.limit-w.buffer.size)])
}

// load ensures that there is a buffer. The first one begins with the saved tail. After an
// error load may be called again.
func (w *resumedWriter) load(ctx context.Context) error {
	if w.buffer != nil {
		return nil
	}
	f, err := newTemporary(w.bucket.opts.Temp)
	if err != nil {
		return fmt.Errorf("create temporary file: %w", err)
	}
	buffer := &part{file: f, limit: w.bucket.partLimit(min(w.used+1, maxPart))}
	if last := w.held.saved.Tail; last.Key != "" && !w.loaded {
		err = w.fetch(ctx, last.Key, 0, last.Size, func(p []byte) error {
			_, err := w.bucket.writePart(ctx, buffer, p)
			return err
		})
	}
	if err != nil {
		_ = f.Close() // a temporary file
		return err
	}
	w.buffer, w.loaded = buffer, true
	return nil
}

// received returns the number of bytes in the sent parts.
func (w *resumedWriter) received() int64 { return state{Sent: w.sent}.received() }

// fetch calls write with the bytes of a range of an object.
func (w *resumedWriter) fetch(ctx context.Context, key string, from, size int64, write func([]byte) error) error {
	object, err := w.bucket.stat(ctx, key)
	if err == nil && object.Size < from+size || errors.Is(err, fs.ErrNotExist) {
		return tus.ErrUnreadable
	}
	if err != nil {
		return err
	}
	body, err := w.bucket.get(ctx, key, object.ETag, from)
	if err != nil {
		return err
	}
	defer body.Close() //nolint:errcheck // read only
	chunk := make([]byte, 64<<10)
	for size > 0 {
		n, err := io.ReadFull(body, chunk[:min(int64(len(chunk)), size)])
		if err != nil {
			return fmt.Errorf("read received bytes: %w", err)
		}
		if err := write(chunk[:n]); err != nil {
			return err
		}
		size -= int64(n)
	}
	return nil
}

// next waits until the part before has been sent, and returns the number of the next one.
func (w *resumedWriter) next(ctx context.Context) (number int, err error) {
	if err := w.wait(); err != nil {
		return 0, err
	}
	if w.uploadID == "" {
		if err := w.begin(ctx); err != nil {
			return 0, err
		}
	}
	if number, err = w.held.reserve(ctx, w.key, w.uploadID, w.used); err != nil {
		return 0, err
	}
	w.used = number
	return number, nil
}

// begin begins the multipart upload: at the key of the file, if it is known and the service
// honours If-None-Match when it is completed.
func (w *resumedWriter) begin(ctx context.Context) (err error) {
	streams, err := w.bucket.streams(ctx)
	if err != nil {
		return err
	}
	s := w.held.saved
	w.key = w.held.place.wholeKey(s.ID)
	if streams && !s.Partial() {
		if w.key, err = w.bucket.key(s.Directory, s.Filename); err != nil {
			return err
		}
	}
	w.uploadID, err = w.bucket.beginMultipart(ctx, w.key, metadata(s.ID, w.hidden))
	w.held.saved.Hidden = w.hidden // saved with the id of the multipart upload
	return err
}

// sendBuffer begins to send the buffer as a part.
func (w *resumedWriter) sendBuffer(ctx context.Context) error {
	number, err := w.next(ctx)
	if err != nil {
		return err
	}
	select {
	case w.bucket.sending <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	full := w.buffer
	full.number = number
	w.buffer, w.sending = nil, make(chan sendDone, 1)
	go func(done chan<- sendDone) { // ends with the request; wait and Close wait for it
		defer func() { <-w.bucket.sending }()
		defer full.file.Close() //nolint:errcheck // a temporary file
		etag, err := w.bucket.sendPart(context.WithoutCancel(ctx), w.key, w.uploadID, full)
		done <- sendDone{sentPart{number, etag, full.size}, err}
	}(w.sending)
	return nil
}

// wait waits until no part is being sent.
func (w *resumedWriter) wait() error {
	if w.sending == nil {
		return w.failed
	}
	done := <-w.sending
	w.sending = nil
	if done.err != nil {
		w.failed = lostError(done.err)
		return w.failed
	}
	w.sent = append(w.sent, done.part)
	return nil
}

// lostError returns tus.ErrUnreadable if the service does not know the multipart upload any
// more, and else err.
func lostError(err error) error {
	var response minio.ErrorResponse
	if errors.As(err, &response) && response.Code == "NoSuchUpload" {
		return fmt.Errorf("%w: %w", tus.ErrUnreadable, err)
	}
	return err
}

// flush makes everything that was written durable, and returns the tail. If the buffer is
// large enough, it becomes a part.
func (w *resumedWriter) flush(ctx context.Context) (tail, error) {
	if err := w.endCopy(ctx); err != nil {
		return tail{}, err
	}
	if err := w.wait(); err != nil {
		return tail{}, err
	}
	if err := w.load(ctx); err != nil {
		return tail{}, err
	}
	switch last := w.held.saved.Tail; {
	case w.buffer.size == 0:
		return tail{}, nil
	case w.buffer.size >= minPartSize:
		if err := w.sendBuffer(ctx); err != nil {
			return tail{}, err
		}
		return tail{}, w.wait()
	case last.Size == w.buffer.size && w.held.saved.Offset == w.size:
		return last, nil
	}
	sum, err := w.buffer.sum()
	if err != nil {
		return tail{}, err
	}
	t := tail{Key: w.held.place.dataFolder(w.held.saved.ID) + rand.Text(), Size: w.buffer.size}
	ctx, end := w.bucket.operation(ctx, 0)
	defer end()
	err = retryConflict(ctx, func() error {
		_, err := w.bucket.client.PutObject(ctx, w.bucket.name, t.Key, w.buffer.reader(), t.Size, "", sum, verified())
		return err
	})
	return t, failure(ctx, "write tail", err)
}

// Finish implements uploads.Writer. Save has made everything durable.
func (w *resumedWriter) Finish(_ context.Context, sum string) (modified time.Time, err error) {
	w.sum, w.ended = sum, time.Now().Round(0)
	return modified, w.wait()
}

// Publish implements uploads.Writer.
func (w *resumedWriter) Publish(ctx context.Context, directory, filename string) error {
	key, err := w.bucket.key(directory, filename)
	if err != nil {
		return err
	}
	switch {
	case w.uploadID != "" && (w.key != key || w.hidden && !w.held.saved.Hidden):
		return w.publishCopy(ctx, directory, filename)
	case w.uploadID == "":
		err = w.load(ctx)
	}
	if err == nil {
		o := newObject{w.held.saved.ID, key, directory, filename, w.hidden}
		err = w.bucket.publish(ctx, o, w.ended, func() error { return w.store(ctx, key) })
	}
	if hasStatus(err, http.StatusNotFound) { // the parts are gone, and there is no file
		return fmt.Errorf("%w: %w", tus.ErrUnreadable, err)
	}
	return err
}

// store stores the object by one request. Before that, it sends the rest as the last part.
func (w *resumedWriter) store(ctx context.Context, key string) error {
	b := w.bucket
	if w.uploadID != "" {
		return w.complete(ctx, onlyNew(nil))
	}
	ctx, end := b.operation(ctx, 0)
	defer end()
	m := metadata(w.held.saved.ID, w.hidden)
	m[metaSum] = w.sum
	_, err := b.client.PutObject(ctx, b.name, key, w.buffer.reader(), w.buffer.size, "", w.sum, onlyNew(m))
	return failure(ctx, "store object", err)
}

// complete sends the rest, which is the saved tail, as the last part, and completes the
// multipart upload.
func (w *resumedWriter) complete(ctx context.Context, o minio.PutObjectOptions) error {
	if w.received() < w.size {
		err := w.load(ctx)
		if err == nil {
			err = w.sendBuffer(ctx)
		}
		if err == nil {
			err = w.wait()
		}
		if err != nil {
			w.failed, w.loaded = nil, w.buffer != nil // for another attempt
			return err
		}
	}
	ctx, end := w.bucket.operation(ctx, time.Duration(w.size/completeRate)*time.Second)
	defer end()
	_, err := w.bucket.client.CompleteMultipartUpload(ctx, w.bucket.name, w.key, w.uploadID, completeParts(w.sent), o)
	return failure(ctx, "complete object", err)
}

// publishCopy publishes a file whose parts become an object of its own: the service could
// overwrite a file when it completes a multipart upload, or the upload began before there was
// a quarantine.
func (w *resumedWriter) publishCopy(ctx context.Context, directory, filename string) error {
	key, err := w.held.place.assemble(ctx, w.held.saved)
	if err != nil {
		return err
	}
	whole, err := w.bucket.Create(ctx, w.held.saved.ID, directory, filename)
	if err != nil {
		return err
	}
	defer whole.Close()
	if w.hidden {
		if err := whole.Hide(ctx); err != nil {
			return err
		}
	}
	err = w.fetch(ctx, key, 0, w.size, func(p []byte) error {
		_, err := whole.Write(ctx, p)
		return err
	})
	if err != nil {
		return err
	}
	if _, err := whole.Finish(ctx, w.sum); err != nil {
		return err
	}
	return whole.Publish(ctx, directory, filename)
}

// Close implements uploads.Writer. Saved parts are kept.
func (w *resumedWriter) Close() {
	_ = w.wait() // the error does not matter any more
	if w.buffer != nil {
		_ = w.buffer.file.Close() // a temporary file
		w.buffer = nil
	}
	if w.uploadID != "" && w.held.saved.Upload != w.uploadID { // no state knows it
		w.bucket.background.Go(func() { w.bucket.abort(context.Background(), w.key, w.uploadID) })
	}
}
