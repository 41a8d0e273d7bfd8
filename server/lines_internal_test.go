package server

import (
	"strings"
	"testing"
)

// FuzzHeadLines checks that heads whose lines end in CRLF are accepted and heads with bare
// LFs are refused, no matter how the bytes are split into reads.
func FuzzHeadLines(f *testing.F) {
	for _, seed := range []string{"GET / HTTP/1.1\nHost: h", "\n\na\nb\n", "a", "\x00\n:"} {
		f.Add(seed, uint8(0))
		f.Add(seed, uint8(1))
		f.Add(seed, uint8(3))
	}
	f.Fuzz(func(t *testing.T, text string, piece uint8) {
		fields := strings.FieldsFunc(text, func(r rune) bool { return r == '\r' || r == '\n' })
		if len(fields) == 0 {
			return
		}
		for _, end := range []string{"\r\n", "\n"} {
			head := strings.Join(fields, end) + end + end
			var lines headLines
			for rest := "\n\r\n" + head; rest != ""; {
				n := len(rest)
				if piece > 0 {
					n = min(n, int(piece))
				}
				lines.add([]byte(rest[:n]))
				rest = rest[n:]
			}
			if lines.malformed != (end == "\n") {
				t.Errorf("%q by %d: %+v", head, piece, lines)
			}
		}
	})
}
