package s3

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/galeserver/gale/uploads"
)

// pending is the part of the prefix for the records of the journal: objects with one line
// of JSON for each file. CheckName accepts no name that begins with a dot, so no upload
// can be stored there.
const pending = ".pending/"

// Ages of a record. One that is younger than minRecordAge belongs to a process that is
// still working on it, most likely. A file of a record that is older than maxRecordAge
// and does not exist will not be stored any more; see maxPublishDelay.
const (
	minRecordAge = 5 * time.Second
	maxRecordAge = 24 * time.Hour
)

// maxRecord is the size limit of a record, in bytes. It is larger than that of 10,000
// files with the longest names.
const maxRecord = 64 << 20

// lookout limits how often Retry lists the records.
type lookout struct {
	mu   sync.Mutex
	next time.Time
}

// record is a record of the journal. It implements uploads.Record.
type record struct {
	bucket *Bucket
	key    string
	files  int
}

// Begin implements uploads.Journal.
func (b *Bucket) Begin(ctx context.Context, files []uploads.Pending) (uploads.Record, error) {
	r := &record{b, b.prefix + pending + rand.Text(), len(files)}
	if err := r.write(ctx, files); err != nil {
		return nil, err
	}
	return r, nil
}

func (r *record) write(ctx context.Context, files []uploads.Pending) error {
	var text bytes.Buffer
	lines := json.NewEncoder(&text)
	for _, f := range files {
		if err := lines.Encode(f); err != nil {
			return fmt.Errorf("encode record: %w", err)
		}
	}
	ctx, end := r.bucket.operation(ctx, 0)
	defer end()
	err := retryConflict(ctx, func() error {
		_, err := r.bucket.client.PutObject(ctx, r.bucket.name, r.key, bytes.NewReader(text.Bytes()), int64(text.Len()), "", sumHex(text.String()), verified())
		return err
	})
	return failure(ctx, "write record", err)
}

// End implements uploads.Record.
func (r *record) End(ctx context.Context, left []uploads.Pending) {
	var err error
	switch {
	case len(left) == 0:
		err = r.bucket.removeObject(ctx, r.key)
	case len(left) < r.files:
		err = r.write(ctx, left)
	}
	if err != nil {
		r.bucket.log.WarnContext(ctx, "record of stored files not updated, their callbacks will be called again", "key", r.key, "error", err)
	}
}

// Retry implements uploads.Journal. Several processes may call fn for the same file at the
// same time: a lock would have to expire, and could not prevent that. It lists the records
// once per Options.Retry, because services charge for that.
func (b *Bucket) Retry(ctx context.Context, fn func(uploads.Pending) error) (left int, failed error) {
	if !b.lookout.due(b.opts.Retry) {
		return 0, nil
	}
	keys, err := b.records(ctx)
	if err != nil {
		return 0, err
	}
	for key, age := range keys {
		if ctx.Err() != nil {
			break
		}
		n, err := b.retryOne(ctx, key, age, fn)
		left += n
		if failed == nil {
			failed = err
		}
	}
	return left, failed
}

// due reports whether the interval has passed since it last returned true.
func (l *lookout) due(interval time.Duration) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Now().Before(l.next) {
		return false
	}
	l.next = time.Now().Add(interval)
	return true
}

// records returns the keys of the records, with their ages.
func (b *Bucket) records(ctx context.Context) (map[string]time.Duration, error) {
	ctx, end := b.operation(ctx, 0)
	defer end()
	keys := map[string]time.Duration{}
	for object := range b.client.ListObjectsIter(ctx, b.name, minio.ListObjectsOptions{Prefix: b.prefix + pending, Recursive: true}) {
		if object.Err != nil {
			return nil, failure(ctx, "list records", object.Err)
		}
		if age := time.Since(object.LastModified); age >= minRecordAge {
			keys[object.Key] = age
		}
	}
	return keys, nil
}

// retryOne calls fn for the stored files of a record.
func (b *Bucket) retryOne(ctx context.Context, key string, age time.Duration, fn func(uploads.Pending) error) (left int, failed error) {
	files, lines, err := b.readRecord(ctx, key)
	if err != nil {
		return 0, err
	}
	var rest []uploads.Pending
	for _, p := range files {
		there, err := b.stillStored(ctx, p)
		switch {
		case err == nil && there:
			err = fn(p)
		case err == nil && age < maxRecordAge:
			rest = append(rest, p) // it may be stored a little later
		case err == nil && p.Quarantined: // the mark of a file that was never stored
			if key, errKey := b.key(p.Directory, p.Filename); errKey == nil {
				err = b.removeObject(ctx, b.markKey(p.ID, key))
			}
		}
		if err != nil {
			rest = append(rest, p)
			left++
			if failed == nil {
				failed = err
			}
		}
	}
	(&record{b, key, lines}).End(ctx, rest)
	return left, failed
}

// readRecord returns the files of a record, and the number of its lines. Lines that this
// package cannot have written are logged and skipped. Without the record there are none.
func (b *Bucket) readRecord(ctx context.Context, key string) (files []uploads.Pending, lines int, err error) {
	ctx, end := b.operation(ctx, 0)
	defer end()
	body, _, _, err := b.client.GetObject(ctx, b.name, key, minio.GetObjectOptions{})
	if err != nil {
		err = failure(ctx, "read record", err)
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		return nil, 0, err
	}
	defer body.Close() //nolint:errcheck // read only
	text, err := io.ReadAll(io.LimitReader(body, maxRecord))
	if err != nil {
		return nil, 0, failure(ctx, "read record", err)
	}
	for line := range bytes.Lines(text) {
		lines++
		var p uploads.Pending
		err := json.Unmarshal(line, &p)
		if err == nil {
			err = p.Check()
		}
		if err != nil {
			b.log.WarnContext(ctx, "invalid line of a record of stored files skipped", "key", key, "error", err)
			continue
		}
		files = append(files, p)
	}
	return files, lines, nil
}

// stillStored reports whether the object is the one of the upload. It is not if the
// process was killed before it stored the object, or if the object has been removed or
// replaced since then.
func (b *Bucket) stillStored(ctx context.Context, p uploads.Pending) (bool, error) {
	key, err := b.key(p.Directory, p.Filename)
	if err != nil {
		return false, nil //nolint:nilerr // a record with another prefix
	}
	object, err := b.stat(ctx, key)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && object.UserMetadata[metaID] == p.ID, err
}
