package uploads

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
)

// chunkSize is how much is read before it is written and hashed, in bytes: so
// much that the trip through the pool does not count.
const chunkSize = 256 << 10

// Of such chunks a store holds maxChunks at once. What is under way beside them
// reads into small ones, so that a thousand senders that dawdle cost no more than
// their connections do.
const (
	maxChunks      = 64
	smallChunkSize = 16 << 10
)

type (
	chunk      [chunkSize]byte
	smallChunk [smallChunkSize]byte
)

// borrow returns a buffer to read into and the function that gives it back.
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

// Write appends p, in the pool. A file that would pass Options.MaxFile gets
// nothing of p, and the error is ErrTooLarge. After any error but the end of
// ctx before its turn the upload can only be discarded.
//
// It takes a context where io.Writer has none, since a full pool is waited for.
func (u *Upload) Write(ctx context.Context, p []byte) (int, error) {
	if u.file == nil {
		return 0, errFinished
	}
	if u.err != nil {
		return 0, u.err
	}
	if int64(len(p)) > u.store.options.MaxFile-u.size {
		u.err = u.store.tooLargeError()
		return 0, u.err
	}
	n := 0
	err := u.store.DoWait(ctx, func() error {
		n, u.err = u.append(p)
		return u.err
	})
	return n, err
}

func (s *Store) tooLargeError() error {
	return WithReason(ErrTooLarge, fmt.Sprintf("a file may have %d bytes", s.options.MaxFile))
}

// append writes and hashes p, in the caller's goroutine.
func (u *Upload) append(p []byte) (int, error) {
	u.synced = false
	n, err := u.store.sys.write(u.file, p)
	if err != nil {
		return n, fmt.Errorf("write file: %w", err)
	}
	u.hash.Write(p)
	u.size += int64(n)
	u.store.options.Meter.FileWrote(n)
	return n, nil
}

// ReadFrom appends everything up to r's io.EOF and returns how many bytes that
// was. It reads a chunk of 256 KiB, or of 16 KiB while many do, at r's pace in the
// caller's goroutine and takes a place in the pool only to write and hash it. A
// reader's error is wrapped and leaves what came before it in the file; other
// errors are Write's.
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
		case len(buffer) < chunkSize: // there may be a large one by now
			putBack()
			buffer, putBack = u.store.getBuffer()
		}
	}
}

// fill reads until p is full or r ends or fails. io.ReadFull would answer a
// short read with io.ErrUnexpectedEOF, which is also how many readers say that a
// body was cut off; here only r's own io.EOF, and no error around it, is an end.
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

// maxEmptyReads is how often in a row a reader may return nothing, as in bufio.
const maxEmptyReads = 100

// Size is how many bytes the file has.
func (u *Upload) Size() int64 { return u.size }

// sum is the SHA-256 of the file so far, hexadecimal.
func (u *Upload) sum() string { return hex.EncodeToString(u.hash.Sum(nil)) }
