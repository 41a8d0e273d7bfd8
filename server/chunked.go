package server

import (
	"cmp"
	"io"
)

// Limits for the parts of a chunked body that are not content, in bytes unless stated
// otherwise. Extensions are ignored and trailers are dropped. Without these limits a
// client could send them forever and never reach the limit of the body.
const (
	maxChunkDigits     = 15 // hexadecimal digits of a chunk size
	maxChunkExtensions = 16 << 10
	maxTrailers        = 8 << 10
)

// chunkedReader is a strict decoder of the chunked transfer coding (RFC 9112 §7.1). It
// reads exactly the bytes of the body from its source.
//
// fasthttp's own decoder, as of 1.74, returns io.EOF for a body that is cut off
// between two chunks, accepts a bare LF as the end of the trailers, adds trailer
// fields to the head that a handler may have checked already, and reads extensions of
// any length.
//
// Its errors are ErrBodyMalformed, ErrBodyTooLarge, and those of the source, with
// io.ErrUnexpectedEOF in place of io.EOF. It must not be read again after an error.
type chunkedReader struct {
	src            io.Reader
	limit          int64   // remaining bytes of content within the body limit
	chunkLeft      int64   // unread bytes of the current chunk
	started        bool    // the first size line was read
	extensionBytes int     // length of all extensions so far
	one            [1]byte // buffer of the method byte
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
		err = nil // the next Read of the source returns the error again
	}
	return n, err
}

// nextChunk reads everything before the content of the next chunk. After the last chunk
// it reads the trailers and returns io.EOF.
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

// sizeLine reads the size of a chunk and its extensions. It accepts white space after
// the size: RFC 9112 §7.1.1 requires a recipient to accept it before an extension, and
// some senders pad the size with spaces.
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

// extensions reads to the end of the line. b is the byte after the size.
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

// trailers reads the trailer section and drops it: a field that arrives after the
// handler has started must not be treated as a field of the head (RFC 9110 §6.5.1).
func (c *chunkedReader) trailers() error {
	name, column := 0, 0 // length of the field name, set at the colon; position in the line
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

// byte reads one byte. The source is buffered, so this is not a system call.
func (c *chunkedReader) byte() (byte, error) {
	_, err := io.ReadFull(c.src, c.one[:])
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return c.one[0], err
}

// isControl reports whether b is not allowed in a field value (RFC 9110 §5.5).
func isControl(b byte) bool { return b < ' ' && b != '\t' || b == 0x7f }
