package server

import (
	"errors"
	"math"
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"
)

// ByteRange is a part of what a client could have as a whole, in bytes.
type ByteRange struct{ Start, Length int64 }

// ContentRange is the field of a 206 response (RFC 9110 §14.4).
func (r ByteRange) ContentRange(size int64) string {
	return "bytes " + strconv.FormatInt(r.Start, 10) + "-" + strconv.FormatInt(r.Start+r.Length-1, 10) + "/" + strconv.FormatInt(size, 10)
}

// NoContentRange is the field of a 416 response.
func NoContentRange(size int64) string { return "bytes */" + strconv.FormatInt(size, 10) }

// ErrRange is a Range in bytes that is malformed. RFC 9110 §14.2 leaves open whether
// it is ignored or refused with 416.
var ErrRange = errors.New("malformed Range")

// Range returns the part of size bytes that a request's Range field asks for. asked is
// false if it is the whole: there is no such field, it is repeated, it has another
// unit than bytes, or it asks for several parts, to which the whole is a response that
// RFC 9110 §14.2 allows. A length of 0 is a part that does not exist: 416. The error is
// ErrRange. Whether If-Range holds is for the caller to find out.
func Range(h *fasthttp.RequestHeader, size int64) (part ByteRange, asked bool, err error) {
	text, _ := Single(h, fasthttp.HeaderRange)
	unit, text, _ := strings.Cut(text, "=")
	if !strings.EqualFold(unit, "bytes") || strings.Contains(text, ",") {
		return ByteRange{}, false, nil
	}
	first, last, dash := strings.Cut(strings.Trim(text, " \t"), "-")
	from, okFrom := bytePosition(first)
	to, okTo := bytePosition(last)
	switch {
	case dash && first == "" && okTo: // the last so many
		length := min(to, size)
		return ByteRange{size - length, length}, true, nil
	case !dash || !okFrom || last != "" && (!okTo || before(last, first)):
		return ByteRange{}, true, ErrRange
	case from >= size:
		return ByteRange{}, true, nil
	case last == "":
		to = size - 1
	}
	return ByteRange{from, min(to, size-1) - from + 1}, true, nil
}

// bytePosition reads digits alone. A number beyond all sizes is the largest there is.
func bytePosition(digits string) (n int64, ok bool) {
	if digits == "" || strings.Trim(digits, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return math.MaxInt64, true
	}
	return n, true
}

// before compares numbers of any length.
func before(a, b string) bool {
	a, b = strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")
	if len(a) != len(b) {
		return len(a) < len(b)
	}
	return a < b
}
