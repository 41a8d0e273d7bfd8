package static

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"
)

// span is a part of a file, in bytes.
type span struct{ start, length int64 }

// wanted returns the part of f that a request asks for; asked is false if it is
// the whole. An If-Range that does not hold makes it the whole too (RFC 9110
// §13.1.5). A length of 0 is a part that there is not.
func wanted(h *fasthttp.RequestHeader, f *file) (part span, asked bool) {
	text := string(h.Peek(fasthttp.HeaderRange))
	if text == "" {
		return span{}, false
	}
	if condition := string(h.Peek(fasthttp.HeaderIfRange)); condition != "" && condition != f.etag() &&
		condition != f.info.ModTime().UTC().Format(http.TimeFormat) {
		return span{}, false
	}
	return parseRange(text, f.info.Size())
}

// parseRange reads a Range of one part (RFC 9110 §14.1.2). ok is false for what is
// none, for other units, and for several parts: a server may answer all of them
// with the whole. A length of 0 is a part that lies behind the end.
func parseRange(text string, size int64) (part span, ok bool) {
	unit, text, found := strings.Cut(text, "=")
	first, last, dash := strings.Cut(text, "-")
	if !found || !dash || !strings.EqualFold(unit, "bytes") {
		return span{}, false
	}
	first, last = strings.TrimSpace(first), strings.TrimSpace(last)
	from, errFrom := parseBytes(first)
	to, errTo := parseBytes(last)
	switch {
	case first == "" && errTo == nil: // the last so many
		length := min(to, size)
		return span{size - length, length}, true
	case errFrom != nil || last != "" && (errTo != nil || to < from):
		return span{}, false
	case from >= size:
		return span{}, true
	case last == "":
		to = size - 1
	}
	return span{from, min(to, size-1) - from + 1}, true
}

// parseBytes reads a number of bytes: digits alone, no sign.
func parseBytes(text string) (int64, error) {
	n, err := strconv.ParseUint(text, 10, 63)
	return int64(n), err
}

// accepts reports whether an Accept-Encoding takes coding (RFC 9110 §12.5.3): it is
// named, or everything is, and not with a weight of 0.
func accepts(header, coding string) bool {
	everything := false
	for item := range strings.SplitSeq(header, ",") {
		name, parameters, _ := strings.Cut(item, ";")
		name = strings.TrimSpace(name)
		if !strings.EqualFold(name, coding) && name != "*" {
			continue
		}
		weight := 1.0
		if key, value, ok := strings.Cut(parameters, "="); ok && strings.EqualFold(strings.TrimSpace(key), "q") {
			var err error
			if weight, err = strconv.ParseFloat(strings.TrimSpace(value), 64); err != nil {
				weight = 0
			}
		}
		if name != "*" {
			return weight > 0
		}
		everything = weight > 0
	}
	return everything
}
