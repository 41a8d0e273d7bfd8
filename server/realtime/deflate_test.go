package realtime_test

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/galeserver/gale/server/realtime"
)

// rsv1 marks the first frame of a compressed message (RFC 7692 §6).
const rsv1 = 0x40

// deflateEnd is what a sender removes from the end of each message (RFC 7692 §7.2.1).
const deflateEnd = "\x00\x00\xff\xff"

// deflated compresses text, which may refer to the text of an earlier message.
func deflated(t *testing.T, text, earlier string) string {
	t.Helper()
	var b bytes.Buffer
	w, err := flate.NewWriterDict(&b, flate.BestCompression, []byte(earlier))
	if err == nil {
		_, err = io.WriteString(w, text)
	}
	if err == nil {
		err = w.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(b.String(), deflateEnd)
}

// deflateCase is like conformance, with the messages that the server must send, decompressed.
// broken is true if the server must close the connection with 1002 or 1007, since RFC 7692
// names no code.
type deflateCase struct {
	name   string
	send   [][]byte
	want   []string
	closes int
	broken bool
}

// deflateCases returns test cases like those of the Autobahn test suite, chapters 12 and 13, and the
// examples of RFC 7692 §7.2.3.
func deflateCases(t *testing.T) []deflateCase {
	const hello = "\xf2\x48\xcd\xc9\xc9\x07\x00"
	const z = text | rsv1
	all := []deflateCase{
		{name: "one block", send: frames(frame(z, hello)), want: []string{"Hello"}},
		{name: "binary", send: frames(frame(bin|rsv1, hello)), want: []string{"Hello"}},
		{name: "fragments", send: frames(frame(textBegin|rsv1, hello[:3]), frame(moreEnd, hello[3:])), want: []string{"Hello"}},
		{name: "ping between fragments", send: frames(frame(textBegin|rsv1, hello[:3]), frame(ping, "p"), frame(moreEnd, hello[3:])), want: []string{"Hello"}},
		{name: "empty first and last fragment", send: frames(frame(textBegin|rsv1, ""), frame(more, hello), frame(moreEnd, "")), want: []string{"Hello"}},
		{name: "block without compression", send: frames(frame(z, "\x00\x05\x00\xfa\xffHello\x00")), want: []string{"Hello"}},
		{name: "final block", send: frames(frame(z, "\xf3\x48\xcd\xc9\xc9\x07\x00\x00")), want: []string{"Hello"}},
		{name: "two blocks", send: frames(frame(z, "\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00")), want: []string{"Hello"}},
		{name: "empty message", send: frames(frame(z, "\x00"), frame(z, hello)), want: []string{"", "Hello"}},
		{name: "message that is not compressed", send: frames(frame(text, "a"), frame(z, hello)), want: []string{"a", "Hello"}},
		{name: "without context takeover", send: frames(frame(z, hello), frame(z, hello)), want: []string{"Hello", "Hello"}},
		{name: "with context takeover", send: frames(frame(z, deflated(t, strings.Repeat("abc", 99), strings.Repeat("abc", 99)))), broken: true},
		{name: "RSV1 in a continuation", send: frames(frame(textBegin|rsv1, hello[:3]), frame(moreEnd|rsv1, hello[3:])), closes: 1002},
		{name: "RSV1 in a continuation only", send: frames(frame(textBegin, "a"), frame(moreEnd|rsv1, hello)), closes: 1002},
		{name: "RSV1 in a ping", send: frames(frame(ping|rsv1, "a")), closes: 1002},
		{name: "RSV1 in a close", send: frames(frame(closing|rsv1, closeWith(1000, ""))), closes: 1002},
		{name: "RSV1 and RSV2", send: frames(frame(z|0x20, hello)), closes: 1002},
		{name: "reserved type of block", send: frames(frame(z, "\x06\x00")), broken: true},
		{name: "wrong length of a block", send: frames(frame(z, "\x00\x05\x00\x00\x00Hello\x00")), broken: true},
		{name: "invalid UTF-8", send: frames(frame(z, deflated(t, "\xed\xa0\x80", ""))), closes: 1007},
		{name: "invalid UTF-8 as binary", send: frames(frame(bin|rsv1, deflated(t, "\xed\xa0\x80", ""))), want: []string{"\xed\xa0\x80"}},
		{name: "at the limit", send: frames(frame(z, deflated(t, strings.Repeat("x", limit), ""))), want: []string{strings.Repeat("x", limit)}},
		{name: "over the limit", send: frames(frame(z, deflated(t, strings.Repeat("x", limit+1), ""))), closes: 1009},
		{name: "far over the limit", send: frames(frame(z, deflated(t, strings.Repeat("\x00", 64<<20), ""))), closes: 1009},
	}
	for _, n := range []int{16, 64, 256, 1024, 4096, 8192, 16384, 32768, 65536, 131072} {
		long := strings.Repeat("0123456789abcdef", n/16)
		c := deflateCase{name: fmt.Sprintf("ten messages of %d bytes", n)}
		for range 10 {
			c.send, c.want = append(c.send, frame(z, deflated(t, long, ""))), append(c.want, long)
		}
		all = append(all, c)
	}
	return all
}

// TestDeflateConformance sends compressed messages of all kinds.
func TestDeflateConformance(t *testing.T) {
	t.Parallel()
	s := open(t, realtime.Options{Compress: true, MaxMessage: limit}, echoes)
	for _, c := range deflateCases(t) {
		for _, bytewise := range []bool{false, true} {
			if bytewise && len(slices.Concat(c.send...)) > 1000 {
				continue
			}
			name := c.name + " at once"
			if bytewise {
				name = c.name + " byte by byte"
			}
			t.Run(name, func(t *testing.T) { c.run(t, s, bytewise) })
		}
	}
}

func (tc deflateCase) run(t *testing.T, s *site, bytewise bool) {
	c := dialRaw(t, s, "Sec-WebSocket-Extensions: permessage-deflate\r\n")
	sent := make(chan struct{})
	go func() { // ends when all is sent, or with the connection
		defer close(sent)
		all := slices.Concat(tc.send...)
		for len(all) > 0 {
			n := len(all)
			if bytewise {
				n = 1
			}
			if _, err := c.Write(all[:n]); err != nil {
				return
			}
			all = all[n:]
		}
	}()
	for _, want := range tc.want {
		if got, code := c.message(t); code != 0 || got != want {
			t.Fatalf("got %.80q, close %d; want %.80q", got, code, want)
		}
	}
	if tc.closes == 0 && !tc.broken {
		<-sent
		_, _ = c.Write(frame(text, "open"))
		if got, code := c.message(t); got != "open" {
			t.Fatalf("got %.80q, close %d; the connection must be open", got, code)
		}
		return
	}
	got, code := c.message(t)
	if ok := code == tc.closes || tc.broken && (code == 1002 || code == 1007); !ok {
		t.Fatalf("got %.80q, close %d; want %d (broken: %v)", got, code, tc.closes, tc.broken)
	}
	_ = c.SetReadDeadline(time.Now().Add(patience))
	if rest, err := io.ReadAll(c.in); err != nil || len(rest) > 0 {
		t.Fatalf("after the close: %q, %v", rest, err)
	}
}

// message reads frames until a message is complete, and returns it decompressed, or the code of a
// close frame. It skips pongs.
func (c *raw) message(t *testing.T) (message string, closed int) {
	t.Helper()
	var whole strings.Builder
	compressed := false
	for {
		first, payload, err := c.next()
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case first == pong:
			continue
		case first == closing && len(payload) < 2:
			return "", 1005
		case first == closing:
			return payload[2:], int(binary.BigEndian.Uint16([]byte(payload)))
		case first&rsv1 != 0:
			compressed = true
		}
		whole.WriteString(payload)
		if first&0x80 == 0 {
			continue
		}
		if !compressed {
			return whole.String(), 0
		}
		plain, err := io.ReadAll(flate.NewReader(strings.NewReader(whole.String() + deflateEnd + "\x01\x00\x00\xff\xff")))
		if err != nil {
			t.Fatal(err)
		}
		return string(plain), 0
	}
}
