package server

import (
	"cmp"
	"io"
)

// Limits on what a chunked body carries beside its content. Extensions have no
// use here and trailers are dropped, so this is room for good will only; without
// a limit a client could send for ever and never reach the limit of the body.
const (
	maxChunkDigits     = 15 // of a chunk's size, hexadecimal
	maxChunkExtensions = 16 << 10
	maxTrailers        = 8 << 10
)

// chunkedReader decodes the chunked transfer coding (RFC 9112 §7.1), strictly,
// and takes not one byte more from its source than the body has.
//
// fasthttp's own decoder, as of 1.74, ends a body cut off between two chunks
// with io.EOF, takes a bare LF for the end of trailers, adds trailer fields to
// the head that a handler may have judged already, and reads extensions of any
// length.
//
// Its errors are ErrBodyMalformed, ErrBodyTooLarge, and those of the source,
// where io.EOF becomes io.ErrUnexpectedEOF. After one it must not be read again.
type chunkedReader struct {
	src            io.Reader
	limit          int64 // content that may still come; the limit
	chunkLeft      int64 // content of this chunk that has not been read yet
	started        bool  // inside the body, that is past the first chunk's size line
	extensionBytes int   // bytes of extensions so far
	one            [1]byte
}

// Read reads content, at most to the end of a chunk.
func (c *chunkedReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if c.chunkLeft == 0 {
		if err := c.nextChunk(); err != nil {
			return 0, err
		}
	}
	n, err := c.src.Read(p[:min(int64(len(p)), c.chunkLeft)])
	c.chunkLeft -= int64(n)
	if err == io.EOF && n == 0 {
		err = io.ErrUnexpectedEOF
	}
	if n > 0 {
		err = nil // the source will say it again
	}
	return n, err
}

// nextChunk reads up to the content of the next chunk. It returns io.EOF after
// the last one, when the trailers have been read too.
func (c *chunkedReader) nextChunk() error {
	if c.started {
		if err := c.crlf(); err != nil {
			return err
		}
	}
	c.started = true
	size, err := c.sizeLine()
	if err != nil {
		return err
	}
	if size == 0 {
		return cmp.Or(c.trailers(), io.EOF)
	}
	if size > c.limit {
		return ErrBodyTooLarge
	}
	c.limit -= size
	c.chunkLeft = size
	return nil
}

// sizeLine reads a chunk's size and its extensions. White space after the size
// is allowed: RFC 9112 §7.1.1 wants it accepted before an extension, and some
// senders pad the size with it.
func (c *chunkedReader) sizeLine() (int64, error) {
	var size int64
	digits := 0
	for ; ; digits++ {
		b, err := c.byte()
		if err != nil {
			return 0, err
		}
		digit := hexValue(b)
		if digit < 0 {
			if digits == 0 {
				return 0, ErrBodyMalformed
			}
			return size, c.extensions(b)
		}
		if digits == maxChunkDigits {
			return 0, ErrBodyMalformed
		}
		size = size<<4 | int64(digit)
	}
}

// extensions reads from b, the byte after a chunk's size, to the end of the line.
func (c *chunkedReader) extensions(b byte) error {
	for padding := true; ; {
		switch {
		case b == '\r':
			return c.lf()
		case padding && (b == ' ' || b == '\t'):
		case b == ';':
			padding = false
		case padding || isControl(b):
			return ErrBodyMalformed
		}
		if c.extensionBytes++; c.extensionBytes > maxChunkExtensions {
			return ErrBodyMalformed
		}
		var err error
		if b, err = c.byte(); err != nil {
			return err
		}
	}
}

// trailers reads the trailer section and drops it: a field that comes after the
// handler began must not pass for one of the head (RFC 9110 §6.5.1).
func (c *chunkedReader) trailers() error {
	name, column := 0, 0 // length of the field's name, once its colon came; place in the line
	for range maxTrailers {
		b, err := c.byte()
		if err != nil {
			return err
		}
		switch {
		case b == '\r' && column == 0:
			return c.lf()
		case b == '\r' && name > 0:
			if err := c.lf(); err != nil {
				return err
			}
			name, column = 0, 0
			continue
		case isControl(b), name == 0 && (b == ' ' || b == '\t'), column == 0 && b == ':':
			return ErrBodyMalformed
		case b == ':' && name == 0:
			name = column
		}
		column++
	}
	return ErrBodyMalformed
}

func (c *chunkedReader) crlf() error {
	if b, err := c.byte(); err != nil || b != '\r' {
		return cmp.Or(err, ErrBodyMalformed)
	}
	return c.lf()
}

func (c *chunkedReader) lf() error {
	if b, err := c.byte(); err != nil || b != '\n' {
		return cmp.Or(err, ErrBodyMalformed)
	}
	return nil
}

// byte reads one byte. The source has a buffer, so this is no system call.
func (c *chunkedReader) byte() (byte, error) {
	_, err := io.ReadFull(c.src, c.one[:])
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return c.one[0], err
}

// isControl reports whether b may not stand in a field's value (RFC 9110 §5.5).
func isControl(b byte) bool { return b < ' ' && b != '\t' || b == 0x7f }
