package upgrade

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"unicode/utf8"
)

// segments is a connection whose Read returns at most size bytes of data. If size is 0, only
// the caller's buffer limits a Read.
type segments struct {
	net.Conn
	data []byte
	size int
}

func (s *segments) Read(p []byte) (int, error) {
	if len(s.data) == 0 {
		return 0, io.EOF
	}
	if s.size > 0 {
		p = p[:min(len(p), s.size)]
	}
	n := copy(p, s.data)
	s.data = s.data[n:]
	return n, nil
}

// badFrame returns the index of the last byte of the first malformed close frame in data, or of the
// first header with a misplaced RSV1, and the close code for it. The code is 0 if there is no such frame. Unlike closeGuard it gets all
// of data in one call.
func badFrame(data []byte) (at, code int) {
	for i := 0; i+2 <= len(data); {
		first, second, length, size := data[i], data[i+1], uint64(data[i+1]&0x7f), 2
		var bytes int
		switch length {
		case 126:
			bytes = 2
		case 127:
			bytes = 8
		}
		if i+2+bytes > len(data) {
			return 0, 0
		}
		if bytes > 0 {
			length = 0
			for _, b := range data[i+2 : i+2+bytes] {
				length = length<<8 | uint64(b)
			}
		}
		size += bytes
		if second&0x80 != 0 {
			size += 4
		}
		if opcode := first & 0x0f; first&0x40 != 0 && (opcode == 0 || opcode >= 8) && i+size <= len(data) {
			return i + size - 1, 1002
		}
		if i+size > len(data) || length > uint64(len(data)-i-size) {
			return 0, 0
		}
		payload := data[i+size : i+size+int(length)]
		if first == 0x88 && second&0x80 != 0 && bytes == 0 && length > 0 {
			unmasked := make([]byte, length)
			for j := range unmasked {
				unmasked[j] = payload[j] ^ data[i+2+j%4]
			}
			if length == 1 {
				return i + size, 1002
			}
			if !utf8.Valid(unmasked[2:]) {
				return i + size + int(length) - 1, 1007
			}
		}
		i += size + int(length)
	}
	return 0, 0
}

// FuzzCloseGuard checks that Read returns everything before the last byte of the first
// malformed close frame or header and nothing after it, no matter how the data is split.
func FuzzCloseGuard(f *testing.F) {
	for _, seed := range []string{
		"", "\x88\x80mask", "\x88\x81maskx", "\x88\x82mask\x6e\x89", "\x88\x83mask\x6e\x89\xff", "\x81\x85maskhello\x88\x81maskx",
		"\x81\xfe\x00\x01maskx\x88\x81maskx", "\x82\xff\x00\x00\x00\x00\x00\x00\x00\x01maskx\x88\x81maskx", "\x88\x01x", "\x08\x81maskx",
		"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xffmaskx", "\x88\xfe\x00\x01maskx",
		"\xc1\x80mask\xc0\x81maskx", "\xc9\x80mask", "\xc8\xfe\x00\x01mas",
	} {
		f.Add([]byte(seed), uint8(0))
		f.Add([]byte(seed), uint8(1))
	}
	f.Fuzz(func(t *testing.T, data []byte, size uint8) {
		guard := &closeGuard{Conn: &segments{data: data, size: int(size)}}
		got, err := io.ReadAll(guard)
		at, code := badFrame(data)
		if code == 0 {
			if err != nil || !bytes.Equal(got, data) {
				t.Fatalf("%q, %v of %q", got, err, data)
			}
			return
		}
		fault, ok := errors.AsType[*CloseError](err)
		if !ok || fault.Code != code || !bytes.Equal(got, data[:at]) {
			t.Fatalf("%q, %v of %q; want %d", got, err, data, code)
		}
		if n, again := guard.Read(make([]byte, 1)); n > 0 || !errors.Is(again, err) {
			t.Fatalf("Read after the error: %d, %v", n, again)
		}
	})
}
