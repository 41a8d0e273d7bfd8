// Package byterange reads the Range field of requests for the byte ranges of files
// (RFC 9110 §14).
package byterange

import (
	"errors"
	"math"
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"
)

// Range is a part of a representation, in bytes.
type Range struct{ Start, Length int64 }

// ContentRange returns the Content-Range field of a 206 response (RFC 9110 §14.4)
// for a representation of size bytes.
func (r Range) ContentRange(size int64) string {
	return "bytes " + strconv.FormatInt(r.Start, 10) + "-" + strconv.FormatInt(r.Start+r.Length-1, 10) + "/" + strconv.FormatInt(size, 10)
}

// Unsatisfied returns the Content-Range field of a 416 response.
func Unsatisfied(size int64) string { return "bytes */" + strconv.FormatInt(size, 10) }

// ErrMalformed is the error of Parse. RFC 9110 §14.2 lets a server either ignore such
// a field or respond with 416.
var ErrMalformed = errors.New("malformed Range")

// Parse reads the Range field of a request for a representation of size bytes. ranged is
// false if the response must contain the whole representation, with the status 200: the
// request has no Range field or several, the unit is not bytes, or the field lists several
// ranges, which RFC 9110 §14.2 allows a server to ignore. A length of 0 means that the range
// lies outside the representation, and the status must be 416. The error is ErrMalformed.
// Parse does not read If-Range.
func Parse(h *fasthttp.RequestHeader, size int64) (part Range, ranged bool, err error) {
	lines := h.PeekAll(fasthttp.HeaderRange)
	if len(lines) != 1 {
		return Range{}, false, nil
	}
	unit, text, _ := strings.Cut(string(lines[0]), "=")
	if !strings.EqualFold(unit, "bytes") || strings.Contains(text, ",") {
		return Range{}, false, nil
	}
	first, last, dash := strings.Cut(strings.Trim(text, " \t"), "-")
	from, okFrom := parsePosition(first)
	to, okTo := parsePosition(last)
	switch {
	case dash && first == "" && okTo: // a suffix range: the last bytes
		length := min(to, size)
		return Range{size - length, length}, true, nil
	case !dash || !okFrom || last != "" && (!okTo || less(last, first)):
		return Range{}, true, ErrMalformed
	case from >= size:
		return Range{}, true, nil
	case last == "":
		to = size - 1
	}
	return Range{from, min(to, size-1) - from + 1}, true, nil
}

// parsePosition reads digits, without a sign. A number that does not fit becomes the
// largest int64.
func parsePosition(digits string) (n int64, ok bool) {
	if digits == "" || strings.Trim(digits, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return math.MaxInt64, true
	}
	return n, true
}

// less compares decimal numbers of any length.
func less(a, b string) bool {
	a, b = strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")
	if len(a) != len(b) {
		return len(a) < len(b)
	}
	return a < b
}
