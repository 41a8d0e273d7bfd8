// Package utf8text checks and repairs text from clients and programs. Gale stores and
// sends text only in UTF-8, because JSON (RFC 8259, section 8.1) and text frames of
// WebSockets (RFC 6455, section 5.6) allow nothing else.
//
// Text from clients is checked, and refused if it is invalid. Output of programs is
// repaired, because it must not be lost.
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

// ErrInvalid: the text is not valid UTF-8.
var ErrInvalid = errors.New("not valid UTF-8")

// escapeLen is the length of an escape such as \ud800.
const escapeLen = len(`\ud800`)

// Repair replaces each sequence of invalid bytes by U+FFFD.
func Repair(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// Cut repairs a text, and shortens it to n bytes at most. A shortened text ends with an
// ellipsis. n must be at least 3.
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

// CheckJSON returns an error that wraps ErrInvalid if a JSON value contains invalid bytes,
// or an escape of half a surrogate pair such as "\ud800", which UTF-8 cannot represent
// (RFC 8259, section 8.2). The error names the member of the object, or the element of
// the array, that contains it. CheckJSON finds no other errors in JSON, because the
// decoder reports them better.
//
// encoding/json replaces both by U+FFFD in strings that it decodes, without an error, and
// copies both unchanged to a json.RawMessage.
func CheckJSON(data []byte) error {
	if surelyValid(data) {
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

// RepairJSON replaces everything that CheckJSON refuses by U+FFFD. It returns data itself
// if data is valid.
func RepairJSON(data []byte) []byte {
	if surelyValid(data) {
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

// surelyValid is a quick check. If it returns true, JSON is valid. If it returns false, JSON
// is invalid or has an escape of the form \uXXXX.
func surelyValid(data []byte) bool { return utf8.Valid(data) && !bytes.Contains(data, []byte(`\u`)) }

// invalid returns the position and length of the first invalid bytes or escape in JSON. The
// length is 0 if there are none.
func invalid(data []byte) (at, length int) {
	for at < len(data) {
		c := data[at]
		switch {
		case c == '\\' && surrogate(data[at:]) != 0:
			if utf16.DecodeRune(surrogate(data[at:]), surrogate(data[at+escapeLen:])) == utf8.RuneError {
				return at, escapeLen
			}
			at += 2 * escapeLen
		case c == '\\' && bytes.HasPrefix(data[at+1:], []byte{'\\'}):
			at += 2 // an escaped backslash: the second one does not start an escape
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

// surrogate returns the surrogate whose escape is at the start of data, or 0 if there is
// none.
func surrogate(data []byte) rune {
	if len(data) < escapeLen || data[0] != '\\' || data[1] != 'u' {
		return 0
	}
	n, err := strconv.ParseUint(string(data[2:escapeLen]), 16, 16)
	if r := rune(n); err == nil && utf16.IsSurrogate(r) {
		return r
	}
	return 0
}

// member returns a text that names the member or element of a JSON value which contains
// the byte at a position. Elements are counted from 1.
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
