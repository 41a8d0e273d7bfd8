package uploadsocket_test

import (
	"strings"
	"testing"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/server/uploadsocket"
	"github.com/galeserver/gale/uploads"
)

// frame returns a frame as a client sends it, masked with zeros.
func frame(first byte, payload string) string {
	return string([]byte{first, 0x80 | byte(len(payload)), 0, 0, 0, 0}) + payload
}

// If frames violate RFC 6455, the server closes the connection with the close code for that, and
// the upload leaves no file.
func TestBadFrames(t *testing.T) {
	t.Parallel()
	s := open(t, uploadsocket.Options{}, uploads.Options{})
	long := "\x8a\xfe\x00\x7e\x00\x00\x00\x00" + strings.Repeat("x", 126)
	for name, row := range map[string]struct {
		frames string
		code   int
	}{
		"close of one byte":           {frame(0x88, "a"), 1002},
		"close code 999":              {frame(0x88, "\x03\xe7"), 1002},
		"close code 1005":             {frame(0x88, "\x03\xed"), 1002},
		"close code 1006":             {frame(0x88, "\x03\xee"), 1002},
		"close code 1016":             {frame(0x88, "\x03\xf8"), 1002},
		"close code 2999":             {frame(0x88, "\x0b\xb7"), 1002},
		"close reason not UTF-8":      {frame(0x88, "\x03\xe8\xff"), 1007},
		"fragmented close":            {frame(0x08, ""), 1002},
		"fragmented ping":             {frame(0x09, "a"), 1002},
		"control frame too long":      {long, 1002},
		"reserved bit":                {frame(0xc2, "a"), 1002},
		"reserved opcode":             {frame(0x83, "a"), 1002},
		"reserved control opcode":     {frame(0x8b, ""), 1002},
		"frame without a mask":        {"\x82\x01a", 1002},
		"continuation of nothing":     {frame(0x80, "a"), 1002},
		"message inside of a message": {frame(0x02, "a") + frame(0x82, "b"), 1002},
		"text that is not UTF-8":      {frame(0x81, "\xff"), 1007},
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, s, "name=a")
			if _, err := c.NetConn().Write([]byte(frame(0x82, "content") + row.frames)); err != nil {
				t.Fatal(err)
			}
			c.offset(int64(len("content")))
			c.closed(row.code)
		})
	}
	testutil.Eventually(t, "nothing is left", func() bool { return len(s.left(t)) == 0 })
}
