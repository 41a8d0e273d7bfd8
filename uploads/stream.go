package uploads

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
)

// errFormCut is the error for a body that ends before its last boundary.
var errFormCut = WithReason(ErrMalformed, "the body ends before the last boundary")

// headerTooLarge returns the error for too much data before a part, or in its header.
func headerTooLarge(limit int64) error {
	return WithReason(ErrMalformed, fmt.Sprintf("the header of a part, or the data before the first part, is over %d bytes", limit))
}

// stream is the body of a form, as mime/multipart reads it. It corrects three things:
//
// The end of the body. mime/multipart returns io.EOF for the end of the form and also
// for a body that ends in the header of a part. A stream turns the end of the body into
// errFormCut, so that io.EOF always means the last boundary.
//
// The last newline. Some clients send none after the last boundary; RFC 2046 counts it
// as a part of the epilogue. A stream adds a CRLF to the body.
//
// The size of the header of a part. mime/multipart allows 10 MiB, a stream maxHead.
type stream struct {
	body    io.Reader
	maxHead int64 // size limit of the header of a part, in bytes
	budget  int64 // number of bytes that may still be read before the header is too large
	eof     error // error for the end of the body
	err     error // error that each further Read returns
}

func newStream(body io.Reader, maxHead int64) *stream {
	return &stream{body: io.MultiReader(body, strings.NewReader("\r\n")), maxHead: maxHead, eof: errFormCut}
}

const unlimited = math.MaxInt64

func (s *stream) Read(p []byte) (int, error) {
	if s.err == nil && s.budget <= 0 {
		s.err = headerTooLarge(s.maxHead)
	}
	if s.err != nil {
		return 0, s.err
	}
	n, err := s.body.Read(p[:min(int64(len(p)), s.budget)])
	s.budget -= int64(n)
	switch {
	case err == io.EOF: // not errors.Is: a wrapped io.EOF is not the end
		s.err = s.eof
	case errors.Is(err, ErrDigest):
		s.err = err
	case err != nil:
		s.err = fmt.Errorf("%w: %w", ErrBody, err)
	}
	return n, s.err
}

// formError returns the error of a form for err, an error of mime/multipart. If the body
// ends within a header line, that package reports a malformed header. In this case
// formError returns the error of the stream.
func (s *stream) formError(err error) error {
	if s.caused(err) || errors.Is(s.err, ErrBody) || errors.Is(s.err, ErrDigest) {
		return s.err
	}
	return fmt.Errorf("%w: %w", ErrMalformed, err)
}

// caused reports whether err is an error of the stream, and not one of the disk.
func (s *stream) caused(err error) bool {
	return s.err != nil && errors.Is(err, s.err)
}
