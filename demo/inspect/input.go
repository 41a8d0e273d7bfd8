package inspect

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
)

// inputBuffer is the size of the read buffer in bytes, and so the limit of peek.
const inputBuffer = 64 << 10

// id3v1Size is the size in bytes of an ID3v1 tag, which is always at the end of a file.
const id3v1Size = 128

// input reads a file once, from start to end. It hashes and counts the bytes.
type input struct {
	*bufio.Reader
	file *countingReader
	size int64  // size of the file in bytes when it was opened
	last []byte // last bytes of the file, at most id3v1Size
}

// newInput determines the size of r, reads its last bytes and returns to its start. progress
// may be nil.
func newInput(ctx context.Context, r io.ReadSeeker, progress func(int, string)) (*input, error) {
	size, err := r.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, fmt.Errorf("measure file: %w", err)
	}
	if size == 0 {
		return nil, formatError("the file is empty")
	}
	last := make([]byte, min(size, id3v1Size))
	if _, err := r.Seek(size-int64(len(last)), io.SeekStart); err != nil {
		return nil, fmt.Errorf("read end of file: %w", err)
	}
	if _, err := io.ReadFull(r, last); err != nil {
		return nil, fmt.Errorf("read end of file: %w", err)
	}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("rewind file: %w", err)
	}
	if progress == nil {
		progress = func(int, string) {}
	}
	t := &countingReader{
		r: r, size: size, sum: sha256.New(), percent: -1, progress: progress,
		stopErr: func() error { return context.Cause(ctx) },
	}
	return &input{Reader: bufio.NewReaderSize(t, inputBuffer), file: t, size: size, last: last}, nil
}

// endOfFile reports whether err means that the file ended too early.
func endOfFile(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// offset returns the offset of the next byte.
func (in *input) offset() int64 { return in.file.pos - int64(in.Buffered()) }

// left returns the number of bytes that have not been read.
func (in *input) left() int64 { return in.size - in.offset() }

// skip reads n bytes and discards them. The error is io.EOF if there are fewer.
func (in *input) skip(n int64) error {
	_, err := io.CopyN(io.Discard, in.Reader, n)
	return err
}

// peek returns the next n bytes without reading them, at most inputBuffer, or fewer at the
// end of the file.
func (in *input) peek(n int) []byte {
	b, _ := in.Peek(n) // a later read returns the error
	return b
}

// finish reads the rest of the file and returns the SHA-256 of the whole file in hex.
func (in *input) finish() (string, error) {
	if _, err := io.Copy(io.Discard, in.Reader); err != nil {
		return "", err
	}
	in.file.progress(100, "done")
	return hex.EncodeToString(in.file.sum.Sum(nil)), nil
}

// cause returns the error of reading the file if there was one, and otherwise err.
func (in *input) cause(err error) error {
	if in.file.err != nil {
		return in.file.err
	}
	return err
}

// countingReader reads the file into the buffer of input. It hashes the bytes, reports
// the progress and checks for cancellation.
type countingReader struct {
	r         io.Reader
	pos, size int64
	sum       hash.Hash
	stopErr   func() error // returns an error to stop reading
	percent   int          // last percentage that was reported
	progress  func(int, string)
	err       error // last error other than io.EOF
}

func (t *countingReader) Read(p []byte) (int, error) {
	if err := t.stopErr(); err != nil {
		t.err = err
		return 0, err
	}
	if percent := int(min(t.pos*100/t.size, 99)); percent > t.percent {
		t.percent = percent
		t.progress(percent, "measuring")
	}
	n, err := t.r.Read(p)
	t.sum.Write(p[:n])
	t.pos += int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		t.err = fmt.Errorf("read file: %w", err)
		return n, t.err
	}
	return n, err
}
