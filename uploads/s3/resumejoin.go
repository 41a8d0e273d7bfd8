package s3

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"strings"
	"time"

	"github.com/galeserver/gale/uploads/tus"
)

// maxCopy is the size limit of the range of an object that one request copies, in bytes.
const maxCopy = 5 << 30

// source is an object with the bytes of a final upload from one position to another: those of
// a part. The service copies it. The same bytes are passed to Write, for the SHA-256.
type source struct {
	key      string
	from, to int64
}

// wholeKey returns the key of the object with all bytes of an upload that is not a file.
func (r *Resumable) wholeKey(id string) string { return r.dataFolder(id) + "whole" }

// sources returns the objects of the parts of a final upload.
func (r *Resumable) sources(ctx context.Context, s state) (all []source, err error) {
	var at int64
	for _, id := range s.Parts {
		p, _, err := r.readState(ctx, id)
		if err != nil {
			return nil, err
		}
		if at+p.Length > s.Offset && p.Length >= minPartSize {
			key, err := r.assemble(ctx, p)
			if err != nil {
				return nil, err
			}
			all = append(all, source{key, at, at + p.Length})
		}
		at += p.Length
	}
	return all, nil
}

// assemble returns the key of an object with all bytes of a complete upload, or an empty text
// if it has none. It completes the multipart upload, unless that has been done before.
func (r *Resumable) assemble(ctx context.Context, s state) (key string, err error) {
	if s.Upload == "" {
		return s.Tail.Key, nil
	}
	key = r.wholeKey(s.ID)
	switch object, err := r.bucket.stat(ctx, key); {
	case err == nil && object.Size == s.Length:
		return key, nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return "", err
	}
	err = r.completeWhole(ctx, s)
	if err != nil { // a request at the same time may have completed it
		object, errStat := r.bucket.stat(ctx, key)
		switch {
		case errStat == nil && object.Size == s.Length:
			return key, nil
		case hasStatus(err, http.StatusNotFound):
			return "", tus.ErrNotFound
		}
		return "", err
	}
	return key, nil
}

// completeWhole sends the tail of a complete upload as the last part, and completes it.
func (r *Resumable) completeWhole(ctx context.Context, s state) error {
	sent := s.Sent
	if s.Tail.Size > 0 {
		w := &resumedWriter{held: &resumed{place: r, saved: s}, bucket: r.bucket, sent: s.Sent, used: s.Used}
		defer func() {
			if w.buffer != nil {
				_ = w.buffer.file.Close() // a temporary file
			}
		}()
		if err := w.load(ctx); err != nil {
			return err
		}
		w.buffer.number = s.Used + 1 // nobody uses another number for other bytes: the upload is complete
		etag, err := r.bucket.sendPart(ctx, s.Key, s.Upload, w.buffer)
		if err != nil {
			return err
		}
		sent = append(sent[:len(sent):len(sent)], sentPart{w.buffer.number, etag, s.Tail.Size})
	}
	ctx, end := r.bucket.operation(ctx, time.Duration(s.Length/completeRate)*time.Second)
	defer end()
	_, err := r.bucket.client.CompleteMultipartUpload(ctx, r.bucket.name, s.Key, s.Upload, completeParts(sent), verified())
	return failure(ctx, "complete upload", err)
}

// copyNext accepts some bytes of p that the service will copy, and returns their number. It
// returns 0 if the next byte has to be sent: because it is in no source, because the bytes
// before it are too few for a part, or because too few follow.
func (w *resumedWriter) copyNext(ctx context.Context, p []byte) (int, error) {
	for len(w.sources) > 0 && w.size >= w.sources[0].to {
		if err := w.endCopy(ctx); err != nil {
			return 0, err
		}
		w.sources = w.sources[1:]
	}
	if len(w.sources) == 0 || w.size < w.sources[0].from {
		return 0, nil
	}
	left := w.sources[0].to - w.size
	if w.copying == 0 {
		if left < minPartSize {
			return 0, nil
		}
		if err := w.load(ctx); err != nil {
			return 0, err
		}
		if w.buffer.size >= minPartSize {
			if err := w.sendBuffer(ctx); err != nil {
				return 0, err
			}
		} else if w.buffer.size > 0 {
			return w.fill(ctx, p)
		}
	}
	if w.copying == maxCopy {
		if err := w.endCopy(ctx); err != nil {
			return 0, err
		}
	}
	n := min(int64(len(p)), left, maxCopy-w.copying)
	w.copying += n
	w.size += n
	return int(n), nil
}

// fill appends bytes of p to the buffer until it is large enough for a part.
func (w *resumedWriter) fill(ctx context.Context, p []byte) (int, error) {
	n, err := w.bucket.writePart(ctx, w.buffer, p[:min(int64(len(p)), minPartSize-w.buffer.size)])
	w.size += int64(n)
	return n, err
}

// endCopy copies the bytes that copyNext has accepted. If they are too few for a part, or the
// service cannot copy, it reads and sends them.
func (w *resumedWriter) endCopy(ctx context.Context) error {
	if w.copying == 0 {
		return nil
	}
	size := w.copying
	from := w.size - size - w.sources[0].from
	w.copying = 0
	if size >= minPartSize {
		err := w.copyPart(ctx, w.sources[0].key, from, size)
		if !hasStatus(err, http.StatusNotImplemented) {
			return err
		}
	}
	return w.fetch(ctx, w.sources[0].key, from, size, func(p []byte) error {
		for len(p) > 0 {
			n, err := w.append(ctx, p)
			if err != nil {
				return err
			}
			p = p[n:]
		}
		return nil
	})
}

// copyPart makes a range of an object the next part.
func (w *resumedWriter) copyPart(ctx context.Context, key string, from, size int64) error {
	number, err := w.next(ctx)
	if err != nil {
		return err
	}
	ctx, end := w.bucket.operation(ctx, time.Duration(size/completeRate)*time.Second)
	defer end()
	copied, err := w.bucket.client.CopyObjectPart(ctx, w.bucket.name, key, w.bucket.name, w.key, w.uploadID, number, from, size, nil)
	if err == nil && copied.ETag == "" {
		err = errors.New("the response has no ETag")
	}
	if err != nil {
		return failure(ctx, "copy part", err)
	}
	w.sent = append(w.sent, sentPart{number, strings.Trim(copied.ETag, `"`), size})
	return nil
}
