// Package utf8text checks and repairs text from outside. Gale keeps and sends
// text in UTF-8 only, since that is all that JSON (RFC 8259, section 8.1) and the
// text frames of a WebSocket (RFC 6455, section 5.6) can carry.
//
// What a client sends is checked, and refused if it is invalid. What a program
// writes is repaired: the work is done, and its output must not be lost.
package utf8text

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// ErrInvalid is text that is not valid UTF-8.
var ErrInvalid = errors.New("not valid UTF-8")

// escape is the length of an escape such as \ud800.
const escape = len(`\ud800`)

// Repair replaces each run of bytes that are not UTF-8 by U+FFFD.
func Repair(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// Cut bounds a text to n bytes of valid UTF-8, which is all that JSON can
// show; what was longer ends in an ellipsis.
func Cut(s string, n int) string {
	const ellipsis = "…"
	s = Repair(s)
	if len(s) <= n {
		return s
	}
	end := n - len(ellipsis)
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + ellipsis
}

// ValidJSON reports whether data is JSON that CheckJSON accepts.
func ValidJSON(data []byte) bool { return json.Valid(data) && CheckJSON(data) == nil }

// CheckJSON returns an error wrapping ErrInvalid if a JSON value holds bytes that
// are not UTF-8, or an escape of half a surrogate pair, such as "\ud800", which no
// UTF-8 can hold (RFC 8259, section 8.2). The error names the member of an object,
// or the element of an array, that the text is in. Otherwise CheckJSON accepts
// what is not JSON: the decoder has better words for that.
//
// encoding/json replaces both by U+FFFD in strings that it decodes, without an
// error, and copies both unchanged into a json.RawMessage.
func CheckJSON(data []byte) error {
	if plain(data) {
		return nil
	}
	at, length := invalid(data)
	if length == 0 {
		return nil
	}
	where := member(data, at)
	if data[at] == '\\' {
		return fmt.Errorf("%s is %w: %s is half of a surrogate pair", where, ErrInvalid, data[at:at+length])
	}
	return fmt.Errorf("%s is %w: byte 0x%02x", where, ErrInvalid, data[at])
}

// RepairJSON replaces by U+FFFD what CheckJSON refuses. It returns data itself if
// that is valid.
func RepairJSON(data []byte) []byte {
	if plain(data) {
		return data
	}
	at, length := invalid(data)
	if length == 0 {
		return data
	}
	repaired := make([]byte, 0, len(data)+len(data)/8)
	for length > 0 {
		repaired = append(append(repaired, data[:at]...), "\uFFFD"...)
		data = data[at+length:]
		at, length = invalid(data)
	}
	return append(repaired, data...)
}

// plain reports, faster than invalid, that nearly all JSON is valid.
func plain(data []byte) bool { return utf8.Valid(data) && !bytes.Contains(data, []byte(`\u`)) }

// invalid finds the first place in JSON that is not UTF-8. The length is 0 if
// there is none.
func invalid(data []byte) (at, length int) {
	for at < len(data) {
		c := data[at]
		switch {
		case c == '\\' && surrogate(data[at:]) != 0:
			if utf16.DecodeRune(surrogate(data[at:]), surrogate(data[at+escape:])) == utf8.RuneError {
				return at, escape
			}
			at += 2 * escape
		case c == '\\' && bytes.HasPrefix(data[at+1:], []byte{'\\'}):
			at += 2 // the second begins no escape
		case c < utf8.RuneSelf:
			at++
		default:
			r, size := utf8.DecodeRune(data[at:])
			if r == utf8.RuneError && size == 1 {
				return at, 1
			}
			at += size
		}
	}
	return 0, 0
}

// surrogate returns the surrogate that data begins with an escape of, else 0.
func surrogate(data []byte) rune {
	if len(data) < escape || data[0] != '\\' || data[1] != 'u' {
		return 0
	}
	n, err := strconv.ParseUint(string(data[2:escape]), 16, 16)
	if r := rune(n); err == nil && utf16.IsSurrogate(r) {
		return r
	}
	return 0
}

// member names the part of a JSON value that a byte is in.
func member(data []byte, at int) string {
	dec := json.NewDecoder(bytes.NewReader(data))
	start, err := dec.Token()
	if err != nil || start != json.Delim('{') && start != json.Delim('[') {
		return "the value"
	}
	for i := 1; dec.More(); i++ {
		name := "element " + strconv.Itoa(i)
		if start == json.Delim('{') {
			key, err := dec.Token()
			if err != nil || dec.InputOffset() > int64(at) {
				return "a name"
			}
			name = fmt.Sprintf("%q", key)
		}
		var value json.RawMessage
		if dec.Decode(&value) != nil || dec.InputOffset() > int64(at) {
			return name
		}
	}
	return "the value"
}
