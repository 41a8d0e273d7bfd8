package s3

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/minio/minio-go/v7"
	"golang.org/x/sys/unix"

	"github.com/galeserver/gale/uploads"
)

// writer is a file that is being received. It implements uploads.Writer.
type writer struct {
	bucket *Bucket
	id     string
	key    string // key of the object; empty if it is not known yet
	single bool   // the file is sent by one request, after it has been received
	sum    string // hexadecimal SHA-256 of the whole file, known after Finish
	ended  time.Time

	part     *part // part that is being received; nil before the first byte
	uploadID string
	stop     context.CancelFunc // ends the sending of parts; nil before the first one
	sends    sync.WaitGroup

	mu     sync.Mutex
	sent   map[int]string // ETags of sent parts, by number
	failed error          // error of the first part that could not be sent
}

// part is a part of a file in a temporary file without a name.
type part struct {
	number int
	file   *os.File
	size   int64
	limit  int64
}

// Create implements uploads.Files.
func (b *Bucket) Create(ctx context.Context, id, directory, filename string) (uploads.Writer, error) {
	w := &writer{bucket: b, id: id, sent: map[int]string{}}
	inParts, err := b.streams(ctx)
	if err != nil {
		return nil, err
	}
	if directory != "" || filename != "" {
		if w.key, err = b.key(directory, filename); err != nil {
			return nil, err
		}
	}
	w.single = w.key == "" || !inParts
	return w, w.nextPart()
}

// nextPart begins the next part of the file.
func (w *writer) nextPart() error {
	f, err := newTemporary(w.bucket.opts.Temp)
	if err != nil {
		return fmt.Errorf("create temporary file: %w", err)
	}
	number := 1
	if w.part != nil {
		number = w.part.number + 1
	}
	w.part = &part{number: number, file: f, limit: w.bucket.partLimit(number)}
	if w.single {
		w.part.limit = maxSingle
	}
	return nil
}

// partLimit returns the size of the part with that number.
func (b *Bucket) partLimit(number int) int64 { return b.opts.PartSize << ((number - 1) / 1000) }

// newTemporary creates a file without a name.
func newTemporary(dir string) (*os.File, error) {
	f, err := os.OpenFile(dir, os.O_RDWR|unix.O_TMPFILE, 0o600)
	if err == nil || !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EISDIR) {
		return f, err
	}
	if f, err = os.CreateTemp(dir, "part-*"); err != nil {
		return nil, err
	}
	return f, errors.Join(os.Remove(f.Name()))
}

// Write implements uploads.Writer. A full part is sent when the next byte arrives, so
// that the last part is never empty.
func (w *writer) Write(ctx context.Context, p []byte) (total int, err error) {
	for len(p) > 0 {
		if err := w.failure(); err != nil {
			return total, err
		}
		if w.part.size == w.part.limit {
			if w.single {
				return total, uploads.WithReason(uploads.ErrTooLarge, fmt.Sprintf("the size limit of an object without parts is %d bytes", int64(maxSingle)))
			}
			if err := w.sendFull(ctx); err != nil {
				return total, err
			}
		}
		n, err := w.bucket.writePart(ctx, w.part, p[:min(int64(len(p)), w.part.limit-w.part.size)])
		total += n
		if err != nil {
			return total, err
		}
		p = p[n:]
	}
	return total, nil
}

// writePart appends text to the temporary file of a part.
func (b *Bucket) writePart(ctx context.Context, p *part, text []byte) (int, error) {
	select {
	case b.writing <- struct{}{}:
		defer func() { <-b.writing }()
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
	n, err := p.file.WriteAt(text, p.size)
	p.size += int64(n)
	if err != nil {
		return n, fmt.Errorf("write temporary file: %w", err)
	}
	return n, nil
}

// failure returns the error of the first part that could not be sent.
func (w *writer) failure() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.failed
}

// sendFull sends the current part in another goroutine and begins the next one. It waits
// while Options.Parts parts are being sent.
func (w *writer) sendFull(ctx context.Context) error {
	if err := w.begin(ctx); err != nil {
		return err
	}
	select {
	case w.bucket.sending <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	full := w.part
	if err := w.nextPart(); err != nil {
		<-w.bucket.sending
		return err
	}
	sending := context.WithoutCancel(ctx) // Close ends it
	sending, cancel := context.WithCancel(sending)
	if before := w.stop; before != nil {
		w.stop = func() { before(); cancel() }
	} else {
		w.stop = cancel
	}
	w.sends.Go(func() { // Finish and Close wait for it
		defer func() { <-w.bucket.sending }()
		defer cancel()
		defer full.file.Close() //nolint:errcheck // a temporary file
		if err := w.send(sending, full); err != nil {
			w.mu.Lock()
			if w.failed == nil {
				w.failed = err
			}
			w.mu.Unlock()
		}
	})
	return nil
}

// begin begins the multipart upload, unless it has begun.
func (w *writer) begin(ctx context.Context) error {
	if w.uploadID != "" {
		return nil
	}
	id, err := w.bucket.beginMultipart(ctx, w.key, w.id)
	w.uploadID = id
	return err
}

// beginMultipart begins a multipart upload for the upload id.
func (b *Bucket) beginMultipart(ctx context.Context, key, id string) (uploadID string, err error) {
	ctx, end := b.operation(ctx, 0)
	defer end()
	uploadID, err = b.client.NewMultipartUpload(ctx, b.name, key, minio.PutObjectOptions{UserMetadata: map[string]string{metaID: id}})
	return uploadID, failure(ctx, "begin multipart upload", err)
}

// send sends a part.
func (w *writer) send(ctx context.Context, p *part) error {
	etag, err := w.bucket.sendPart(ctx, w.key, w.uploadID, p)
	if err != nil {
		return err
	}
	w.mu.Lock()
	w.sent[p.number] = etag
	w.mu.Unlock()
	return nil
}

// sendPart sends a part of a multipart upload, and returns its ETag. The service verifies its
// SHA-256.
func (b *Bucket) sendPart(ctx context.Context, key, uploadID string, p *part) (etag string, err error) {
	sum, err := p.sum()
	if err != nil {
		return "", err
	}
	ctx, end := b.operation(ctx, 0)
	defer end()
	sent, err := b.client.PutObjectPart(ctx, b.name, key, uploadID, p.number, p.reader(), p.size,
		minio.PutObjectPartOptions{Sha256Hex: sum, DisableContentSha256: true})
	return sent.ETag, failure(ctx, "send part", err)
}

// reader returns a reader of the part.
func (p *part) reader() *io.SectionReader { return io.NewSectionReader(p.file, 0, p.size) }

// sum returns the hexadecimal SHA-256 of the part.
func (p *part) sum() (string, error) {
	hash := sha256.New()
	if _, err := io.Copy(hash, p.reader()); err != nil {
		return "", fmt.Errorf("read temporary file: %w", err)
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

// Finish implements uploads.Writer. The last part stays in its temporary file, because the
// file may still grow.
func (w *writer) Finish(ctx context.Context, sum string) (modified time.Time, err error) {
	w.sends.Wait()
	if err := w.failure(); err != nil {
		return modified, err
	}
	if w.uploadID != "" {
		if err := w.send(ctx, w.part); err != nil {
			return modified, err
		}
	}
	w.sum, w.ended = sum, time.Now().Round(0) // the wall clock, which runs on while the machine sleeps
	return modified, nil
}

// parts returns the sent parts in their order.
func (w *writer) parts() (all []minio.CompletePart) {
	for _, number := range slices.Sorted(maps.Keys(w.sent)) {
		all = append(all, minio.CompletePart{PartNumber: number, ETag: w.sent[number]})
	}
	return all
}

// Close implements uploads.Writer. The parts are removed in the background: the service
// may not respond, and the client waits.
func (w *writer) Close() {
	if w.stop != nil {
		w.stop()
	}
	w.sends.Wait()
	if w.part != nil {
		_ = w.part.file.Close() // a temporary file
	}
	if w.uploadID != "" {
		w.bucket.background.Go(func() { w.bucket.abort(context.Background(), w.key, w.uploadID) }) // Bucket.Close waits for it
	}
}

func sumHex(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}
