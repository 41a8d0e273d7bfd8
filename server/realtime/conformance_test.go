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

// closeWith is the payload of a close frame.
func closeWith(code uint16, reason string) string {
	return string(binary.BigEndian.AppendUint16(nil, code)) + reason
}

// answers is what the server sends: echo frames, then its close code, or 0 if
// the connection stays open.
type conformance struct {
	name   string
	send   [][]byte
	want   []string // "81:payload", …
	closes int      // code; 1005 is a close frame without one
}

func got(first byte, payload string) string { return fmt.Sprintf("%x:%s", first, payload) }

func say(parts ...[]byte) [][]byte { return parts }

// The cases of Autobahn's suite for servers, by its chapters.
func conformanceCases() (all []conformance) {
	add := func(name string, send [][]byte, closes int, want ...string) {
		all = append(all, conformance{name, send, want, closes})
	}
	for _, n := range []int{0, 125, 126, 127, 128, 65535, 65536} {
		data := strings.Repeat("*", n)
		add(fmt.Sprintf("1 text of %d bytes", n), say(frame(text, data)), 0, got(text, data))
		data = strings.Repeat("\xfe", n)
		add(fmt.Sprintf("1 binary of %d bytes", n), say(frame(bin, data)), 0, got(bin, data))
	}
	long := strings.Repeat("p", 125)
	add("2 ping without payload", say(frame(ping, "")), 0, got(pong, ""))
	add("2 ping with payload", say(frame(ping, "\x00\xff\xfe")), 0, got(pong, "\x00\xff\xfe"))
	add("2 ping of 125 bytes", say(frame(ping, long)), 0, got(pong, long))
	add("2 ping of 126 bytes", say(frame(ping, long+"p")), 1002)
	add("2 unsolicited pong", say(frame(pong, "x"), frame(ping, "y")), 0, got(pong, "y"))
	var pings [][]byte
	var pongs []string
	for i := range 10 {
		pings, pongs = append(pings, frame(ping, fmt.Sprint(i))), append(pongs, got(pong, fmt.Sprint(i)))
	}
	add("2 ten pings at once", pings, 0, pongs...)
	for _, rsv := range []byte{0x40, 0x20, 0x10, 0x70} {
		add(fmt.Sprintf("3 reserved bits %x", rsv), say(frame(text, "a"), frame(text|rsv, "b")), 1002, got(text, "a"))
		add(fmt.Sprintf("3 reserved bits %x in a ping", rsv), say(frame(ping|rsv, "b")), 1002)
	}
	for _, opcode := range []byte{3, 4, 5, 6, 7, 11, 12, 13, 14, 15} {
		add(fmt.Sprintf("4 opcode %d", opcode), say(frame(0x80|opcode, "")), 1002)
		add(fmt.Sprintf("4 opcode %d after a message", opcode), say(frame(text, "a"), frame(0x80|opcode, "b"), frame(ping, "")), 1002, got(text, "a"))
	}
	add("5 ping in two fragments", say(frame(ping&0x0f, "a"), frame(moreEnd, "b")), 1002)
	add("5 pong in two fragments", say(frame(pong&0x0f, "a"), frame(moreEnd, "b")), 1002)
	add("5 close in two fragments", say(frame(closing&0x0f, ""), frame(moreEnd, "")), 1002)
	add("5 text in two fragments", say(frame(textBegin, "a"), frame(moreEnd, "b")), 0, got(text, "ab"))
	add("5 binary in three fragments", say(frame(binBegin, "a"), frame(more, ""), frame(moreEnd, "b")), 0, got(bin, "ab"))
	add("5 ping between fragments", say(frame(textBegin, "a"), frame(ping, "p"), frame(moreEnd, "b")), 0, got(pong, "p"), got(text, "ab"))
	add("5 continuation of nothing", say(frame(moreEnd, "a"), frame(text, "b")), 1002)
	add("5 unfinished continuation of nothing", say(frame(more, "a"), frame(moreEnd, "b")), 1002)
	add("5 message in a message", say(frame(textBegin, "a"), frame(text, "b")), 1002)
	add("5 fragments without payload", say(frame(textBegin, ""), frame(more, ""), frame(moreEnd, "")), 0, got(text, ""))
	for name, good := range map[string]string{"two bytes": "\u00e9", "three": "\u20ac", "four": "\U0001f30d", "the last": "\U0010ffff", "zero": "\x00", "none": ""} {
		add("6 valid: "+name, say(frame(text, good)), 0, got(text, good))
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
	add("6 valid: in fragments of a byte", append(bytewise, frame(moreEnd, "")), 0, got(text, kosme))
	for name, bad := range map[string]string{
		"alone": "\x80", "cut off": "\xe2\x82", "overlong": "\xc0\xaf", "overlong null": "\xe0\x80\x80", "surrogate": "\xed\xa0\x80",
		"too large": "\xf4\x90\x80\x80", "five bytes": "\xf8\x88\x80\x80\x80", "never a byte": "\xfe", "in the middle": kosme + "\xf4\x90\x80\x80edited",
	} {
		add("6 invalid: "+name, say(frame(text, bad)), 1007)
		add("6 invalid in fragments: "+name, say(frame(textBegin, bad), frame(moreEnd, "ok")), 1007)
		add("6 valid as binary: "+name, say(frame(bin, bad)), 0, got(bin, bad))
	}
	add("7 close without a code", say(frame(closing, "")), 1005)
	add("7 frames after a close are ignored", say(frame(closing, closeWith(1000, "")), frame(text, "a"), frame(ping, "")), 1000)
	add("7 close inside a message", say(frame(textBegin, "a"), frame(closing, closeWith(1000, ""))), 1000)
	add("7 close of one byte", say(frame(closing, "a")), 1002)
	add("7 close of one byte after a message", say(frame(text, "a"), frame(closing, "a")), 1002, got(text, "a"))
	add("7 close of one byte inside a message", say(frame(textBegin, "a"), frame(closing, "a")), 1002)
	add("7 reason of 123 bytes", say(frame(closing, closeWith(1000, strings.Repeat("r", 123)))), 1000)
	add("7 reason of 124 bytes", say(frame(closing, closeWith(1000, strings.Repeat("r", 124)))), 1002)
	add("7 reason that is not UTF-8", say(frame(closing, closeWith(1000, "\xce\xba\xed\xa0\x80"))), 1007)
	add("7 truncated reason", say(frame(closing, closeWith(1000, "\xe2\x82"))), 1007)
	add("7 reason that is UTF-8", say(frame(closing, closeWith(1000, "\u20ac"))), 1000)
	for _, code := range []uint16{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999} {
		add(fmt.Sprintf("7 code %d", code), say(frame(closing, closeWith(code, "bye"))), int(code))
	}
	for _, code := range []uint16{0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535} {
		add(fmt.Sprintf("7 code %d", code), say(frame(closing, closeWith(code, ""))), 1002)
	}
	add("9 message at the limit", say(frame(bin, strings.Repeat("x", limit))), 0, got(bin, strings.Repeat("x", limit)))
	add("9 message over the limit", say(frame(bin, strings.Repeat("x", limit+1))), 1009)
	add("9 fragments over the limit", say(frame(binBegin, strings.Repeat("x", limit)), frame(moreEnd, "x")), 1009)
	add("9 a length beyond all limits", say([]byte{bin, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4}), 1009)
	add("a frame that is not masked", say(append(header(text, 1), 'a')), 1002)
	return all
}

// limit is the server's limit of a message in these tests.
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

func (tc conformance) run(t *testing.T, s *site, chopped bool) {
	c := dialRaw(t, s, "")
	all := slices.Concat(tc.send...)
	if chopped {
		for i := range all {
			if _, err := c.Write(all[i : i+1]); err != nil {
				break // the server has seen enough
			}
		}
	} else {
		_, _ = c.Write(all)
	}
	for _, want := range tc.want {
		first, payload, err := c.next()
		if response := got(first, payload); err != nil || response != want {
			t.Fatalf("got %.80q, %v; want %.80q", response, err, want)
		}
	}
	if tc.closes == 0 { // the connection is open: a ping gets a pong
		_, _ = c.Write(frame(ping, "alive"))
		if first, payload, err := c.next(); err != nil || got(first, payload) != got(pong, "alive") {
			t.Fatalf("not alive: %x %q, %v", first, payload, err)
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
