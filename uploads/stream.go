package uploads

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
)

// errFormCut is the end of the body before that of the form.
var errFormCut = WithReason(ErrMalformed, "the body ends before the form does")

// headTooLarge ends a form with too much before a part, or in its head.
func headerTooLarge(limit int64) error {
	return WithReason(ErrMalformed, fmt.Sprintf("no part begins, or its head does not end, within %d bytes", limit))
}

// stream is a body as mime/multipart gets to see it.
//
// To that package io.EOF is the end of a body, and also the end of the form:
// a body that ends within a part's header reads like a complete form. Here the
// end of the body is errFormCut, so only the form's last boundary gives io.EOF. Its
// line may lack the newline (RFC 2046 leaves it to the epilogue, and some
// clients send none), which a CRLF after the body makes up for.
//
// It also bounds the head of a part, for which the package allows 10 MiB.
type stream struct {
	body    io.Reader
	maxHead int64 // limit of a part's head, in bytes
	budget  int64 // bytes that may be read before headerTooLarge
	eof     error // what the body's io.EOF becomes
	err     error // sticky
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
	case err == io.EOF: // and no error around it
		s.err = s.eof
	case errors.Is(err, ErrDigest):
		s.err = err
	case err != nil:
		s.err = fmt.Errorf("%w: %w", ErrBody, err)
	}
	return n, s.err
}

// fault is the error of a form whose reading err ended: what mime/multipart
// finds wrong with the content, unless the stream is the cause. To that package
// half a header line, of a body that broke off, is a malformed one.
func (s *stream) formError(err error) error {
	if s.caused(err) || errors.Is(s.err, ErrBody) || errors.Is(s.err, ErrDigest) {
		return s.err
	}
	return fmt.Errorf("%w: %w", ErrMalformed, err)
}

// failed reports whether err is that of the stream, and not of what was done
// with its bytes.
func (s *stream) caused(err error) bool {
	return s.err != nil && errors.Is(err, s.err)
}
