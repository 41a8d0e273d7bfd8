package uploads

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
)

// chunkSize is the size of a read buffer, in bytes. A buffer is written and hashed in
// one run of the pool; with this size the cost of the pool does not matter.
const chunkSize = 256 << 10

// A store uses at most maxChunks buffers of chunkSize. Further uploads use small buffers,
// so that a large number of slow clients needs little memory.
const (
	maxChunks      = 64
	smallChunkSize = 16 << 10 // bytes
)

type (
	chunk      [chunkSize]byte
	smallChunk [smallChunkSize]byte
)

// getBuffer returns a read buffer, and a function that gives the buffer back to the store.
func (s *Store) getBuffer() (buffer []byte, putBack func()) {
	select {
	case s.largeChunks <- struct{}{}:
		c := s.chunks.Get().(*chunk)
		return c[:], func() { s.chunks.Put(c); <-s.largeChunks }
	default:
		c := s.smallChunks.Get().(*smallChunk)
		return c[:], func() { s.smallChunks.Put(c) }
	}
}

// Write appends p. If the file would become larger than Options.MaxFile or than its permit allows, nothing of p
// is written and the error wraps ErrTooLarge. Write runs in the pool and waits while
// that is full; ctx ends the wait, and then Write may be called again. After any other
// error the upload can only be discarded.
func (u *Upload) Write(ctx context.Context, p []byte) (int, error) {
	if u.file == nil {
		return 0, errFinished
	}
	if u.err != nil {
		return 0, u.err
	}
	if int64(len(p)) > u.limit-u.size {
		u.err = tooLarge(u.limit)
		return 0, u.err
	}
	n := 0
	err := u.store.DoWait(ctx, func() error {
		n, u.err = u.append(ctx, p)
		return u.err
	})
	return n, err
}

// append writes and hashes p, in the calling goroutine.
func (u *Upload) append(ctx context.Context, p []byte) (int, error) {
	n, err := u.file.Write(ctx, p)
	if err != nil {
		return n, err
	}
	u.hash.Write(p)
	u.size += int64(n)
	u.store.options.Meter.FileWrote(n)
	return n, nil
}

// ReadFrom appends the content of r up to io.EOF and returns the number of bytes
// appended. It reads in the calling goroutine, and uses the pool only to write and hash. It
// writes in chunks of 256 KiB, or of 16 KiB while 64 other uploads of the
// store use the large ones. An error of r is wrapped; the bytes read before it stay in
// the file. Other errors are those of Write.
func (u *Upload) ReadFrom(ctx context.Context, r io.Reader) (total int64, err error) {
	buffer, putBack := u.store.getBuffer()
	defer func() { putBack() }()
	for {
		n, end, failed := fill(r, buffer)
		if n > 0 {
			n, err := u.Write(ctx, buffer[:n])
			total += int64(n)
			if err != nil {
				return total, err
			}
		}
		switch {
		case failed != nil:
			return total, fmt.Errorf("read upload: %w", failed)
		case end:
			return total, nil
		case len(buffer) < chunkSize: // a large buffer may be free now
			putBack()
			buffer, putBack = u.store.getBuffer()
		}
	}
}

// fill reads until p is full or r ends or fails. io.ReadFull is no choice here: for a
// short read it returns io.ErrUnexpectedEOF, which many readers also return for an
// incomplete body. Here only io.EOF itself, not an error that wraps it, is the end.
func fill(r io.Reader, p []byte) (n int, end bool, err error) {
	for empty := 0; n < len(p); {
		got, err := r.Read(p[n:])
		n += got
		if err == io.EOF {
			return n, true, nil
		}
		if err != nil {
			return n, false, err
		}
		if empty++; got > 0 {
			empty = 0
		}
		if empty == maxEmptyReads {
			return n, false, io.ErrNoProgress
		}
	}
	return n, false, nil
}

// maxEmptyReads is the limit of consecutive reads without a byte or an error, as in
// bufio.
const maxEmptyReads = 100

// Write implements Writer.
func (f *diskFile) Write(_ context.Context, p []byte) (int, error) {
	f.synced = false
	n, err := f.disk.sys.write(f.file, p)
	if err != nil {
		return n, fmt.Errorf("write file: %w", err)
	}
	f.size += int64(n)
	return n, nil
}

// Size returns the size of the file, in bytes.
func (u *Upload) Size() int64 { return u.size }

// sum returns the hexadecimal SHA-256 of the bytes written so far.
func (u *Upload) sum() string { return hex.EncodeToString(u.hash.Sum(nil)) }
