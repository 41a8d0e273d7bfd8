package realtime_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/galeserver/gale/server/realtime"
)

// First bytes of frames (RFC 6455 §5.2): FIN and the opcode.
const (
	text, bin, ping, pong, closing     = 0x81, 0x82, 0x89, 0x8a, 0x88
	textBegin, binBegin, more, moreEnd = 0x01, 0x02, 0x00, 0x80
)

// closeWith returns the payload of a close frame.
func closeWith(code uint16, reason string) string {
	return string(binary.BigEndian.AppendUint16(nil, code)) + reason
}

// conformance is a test case: the frames that the client sends, and the frames that an echo
// server must send.
type conformance struct {
	name   string
	send   [][]byte
	want   []string // frames as received formats them, before the close frame
	closes int      // close code of the server: 0 if it must not close, 1005 for a close frame without a code
}

// received formats a frame from the server for a comparison: "81:payload".
func received(first byte, payload string) string { return fmt.Sprintf("%x:%s", first, payload) }

func frames(parts ...[]byte) [][]byte { return parts }

// conformanceCases returns test cases like those of the Autobahn test suite for servers. A
// name begins with the chapter of that suite.
func conformanceCases() (all []conformance) {
	add := func(name string, send [][]byte, closes int, want ...string) {
		all = append(all, conformance{name, send, want, closes})
	}
	for _, n := range []int{0, 125, 126, 127, 128, 65535, 65536} {
		data := strings.Repeat("*", n)
		add(fmt.Sprintf("1 text of %d bytes", n), frames(frame(text, data)), 0, received(text, data))
		data = strings.Repeat("\xfe", n)
		add(fmt.Sprintf("1 binary of %d bytes", n), frames(frame(bin, data)), 0, received(bin, data))
	}
	long := strings.Repeat("p", 125)
	add("2 ping without payload", frames(frame(ping, "")), 0, received(pong, ""))
	add("2 ping with payload", frames(frame(ping, "\x00\xff\xfe")), 0, received(pong, "\x00\xff\xfe"))
	add("2 ping of 125 bytes", frames(frame(ping, long)), 0, received(pong, long))
	add("2 ping of 126 bytes", frames(frame(ping, long+"p")), 1002)
	add("2 unsolicited pong", frames(frame(pong, "x"), frame(ping, "y")), 0, received(pong, "y"))
	var pings [][]byte
	var pongs []string
	for i := range 10 {
		pings, pongs = append(pings, frame(ping, fmt.Sprint(i))), append(pongs, received(pong, fmt.Sprint(i)))
	}
	add("2 ten pings at once", pings, 0, pongs...)
	for _, rsv := range []byte{0x40, 0x20, 0x10, 0x70} {
		add(fmt.Sprintf("3 reserved bits %x", rsv), frames(frame(text, "a"), frame(text|rsv, "b")), 1002, received(text, "a"))
		add(fmt.Sprintf("3 reserved bits %x in a ping", rsv), frames(frame(ping|rsv, "b")), 1002)
	}
	for _, opcode := range []byte{3, 4, 5, 6, 7, 11, 12, 13, 14, 15} {
		add(fmt.Sprintf("4 opcode %d", opcode), frames(frame(0x80|opcode, "")), 1002)
		add(fmt.Sprintf("4 opcode %d after a message", opcode), frames(frame(text, "a"), frame(0x80|opcode, "b"), frame(ping, "")), 1002, received(text, "a"))
	}
	add("5 ping in two fragments", frames(frame(ping&0x0f, "a"), frame(moreEnd, "b")), 1002)
	add("5 pong in two fragments", frames(frame(pong&0x0f, "a"), frame(moreEnd, "b")), 1002)
	add("5 close in two fragments", frames(frame(closing&0x0f, ""), frame(moreEnd, "")), 1002)
	add("5 text in two fragments", frames(frame(textBegin, "a"), frame(moreEnd, "b")), 0, received(text, "ab"))
	add("5 binary in three fragments", frames(frame(binBegin, "a"), frame(more, ""), frame(moreEnd, "b")), 0, received(bin, "ab"))
	add("5 ping between fragments", frames(frame(textBegin, "a"), frame(ping, "p"), frame(moreEnd, "b")), 0, received(pong, "p"), received(text, "ab"))
	add("5 continuation of nothing", frames(frame(moreEnd, "a"), frame(text, "b")), 1002)
	add("5 unfinished continuation of nothing", frames(frame(more, "a"), frame(moreEnd, "b")), 1002)
	add("5 message in a message", frames(frame(textBegin, "a"), frame(text, "b")), 1002)
	add("5 fragments without payload", frames(frame(textBegin, ""), frame(more, ""), frame(moreEnd, "")), 0, received(text, ""))
	for name, good := range map[string]string{"two bytes": "\u00e9", "three": "\u20ac", "four": "\U0001f30d", "the last": "\U0010ffff", "zero": "\x00", "none": ""} {
		add("6 valid: "+name, frames(frame(text, good)), 0, received(text, good))
	}
	kosme := "\u03ba\u1f79\u03c3\u03bc\u03b5"
	var bytewise [][]byte
	for i := range len(kosme) {
		first := byte(more)
		if i == 0 {
			first = textBegin
		}
		bytewise = append(bytewise, frame(first, kosme[i:i+1]))
	}
	add("6 valid: in fragments of a byte", append(bytewise, frame(moreEnd, "")), 0, received(text, kosme))
	for name, bad := range map[string]string{
		"lone continuation byte": "\x80", "cut off": "\xe2\x82", "overlong": "\xc0\xaf", "overlong null": "\xe0\x80\x80", "surrogate": "\xed\xa0\x80",
		"too large": "\xf4\x90\x80\x80", "five bytes": "\xf8\x88\x80\x80\x80", "impossible byte": "\xfe", "in the middle": kosme + "\xf4\x90\x80\x80edited",
	} {
		add("6 invalid: "+name, frames(frame(text, bad)), 1007)
		add("6 invalid in fragments: "+name, frames(frame(textBegin, bad), frame(moreEnd, "ok")), 1007)
		add("6 valid as binary: "+name, frames(frame(bin, bad)), 0, received(bin, bad))
	}
	add("7 close without a code", frames(frame(closing, "")), 1005)
	add("7 frames after a close are ignored", frames(frame(closing, closeWith(1000, "")), frame(text, "a"), frame(ping, "")), 1000)
	add("7 close inside a message", frames(frame(textBegin, "a"), frame(closing, closeWith(1000, ""))), 1000)
	add("7 close of one byte", frames(frame(closing, "a")), 1002)
	add("7 close of one byte after a message", frames(frame(text, "a"), frame(closing, "a")), 1002, received(text, "a"))
	add("7 close of one byte inside a message", frames(frame(textBegin, "a"), frame(closing, "a")), 1002)
	add("7 reason of 123 bytes", frames(frame(closing, closeWith(1000, strings.Repeat("r", 123)))), 1000)
	add("7 reason of 124 bytes", frames(frame(closing, closeWith(1000, strings.Repeat("r", 124)))), 1002)
	add("7 reason that is not UTF-8", frames(frame(closing, closeWith(1000, "\xce\xba\xed\xa0\x80"))), 1007)
	add("7 truncated reason", frames(frame(closing, closeWith(1000, "\xe2\x82"))), 1007)
	add("7 reason that is UTF-8", frames(frame(closing, closeWith(1000, "\u20ac"))), 1000)
	for _, code := range []uint16{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999} {
		add(fmt.Sprintf("7 code %d", code), frames(frame(closing, closeWith(code, "bye"))), int(code))
	}
	for _, code := range []uint16{0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535} {
		add(fmt.Sprintf("7 code %d", code), frames(frame(closing, closeWith(code, ""))), 1002)
	}
	add("9 message at the limit", frames(frame(bin, strings.Repeat("x", limit))), 0, received(bin, strings.Repeat("x", limit)))
	add("9 message over the limit", frames(frame(bin, strings.Repeat("x", limit+1))), 1009)
	add("9 fragments over the limit", frames(frame(binBegin, strings.Repeat("x", limit)), frame(moreEnd, "x")), 1009)
	add("9 a length beyond all limits", frames([]byte{bin, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4}), 1009)
	add("a frame that is not masked", frames(append(header(text, 1), 'a')), 1002)
	return all
}

// limit is Options.MaxMessage in these tests, in bytes.
const limit = 1 << 17

func TestConformance(t *testing.T) {
	t.Parallel()
	s := open(t, realtime.Options{MaxMessage: limit}, echoes)
	for _, c := range conformanceCases() {
		for _, how := range []string{"at once", "byte by byte"} {
			if how == "byte by byte" && len(slices.Concat(c.send...)) > 1000 {
				continue
			}
			t.Run(c.name+" "+how, func(t *testing.T) { c.run(t, s, how != "at once") })
		}
	}
}

func (tc conformance) run(t *testing.T, s *site, bytewise bool) {
	c := dialRaw(t, s, "")
	all := slices.Concat(tc.send...)
	if bytewise {
		for i := range all {
			if _, err := c.Write(all[i : i+1]); err != nil {
				break // the server has closed the connection
			}
		}
	} else {
		_, _ = c.Write(all)
	}
	for _, want := range tc.want {
		first, payload, err := c.next()
		if response := received(first, payload); err != nil || response != want {
			t.Fatalf("got %.80q, %v; want %.80q", response, err, want)
		}
	}
	if tc.closes == 0 { // the connection is open: a ping gets a pong
		_, _ = c.Write(frame(ping, "open"))
		if first, payload, err := c.next(); err != nil || received(first, payload) != received(pong, "open") {
			t.Fatalf("no pong: %x %q, %v", first, payload, err)
		}
		return
	}
	first, payload, err := c.next()
	code := 1005
	if len(payload) >= 2 {
		code = int(binary.BigEndian.Uint16([]byte(payload)))
	}
	if err != nil || first != closing || code != tc.closes {
		t.Fatalf("got %x %q, %v; want close %d", first, payload, err, tc.closes)
	}
	_ = c.SetReadDeadline(time.Now().Add(patience))
	if rest, err := io.ReadAll(c.in); err != nil || len(rest) > 0 {
		t.Fatalf("after the close: %q, %v", rest, err)
	}
}
