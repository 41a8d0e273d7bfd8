package uploads

import (
	"fmt"
	"strings"
)

// maxBoundary is the length limit of a boundary, in bytes. RFC 2046, section 5.1.1,
// allows 70; Tornado has no limit.
const maxBoundary = 1024

// Media types of forms, as ParseContentType returns them.
const (
	KindMultipart  = "multipart/form-data"
	KindURLEncoded = "application/x-www-form-urlencoded"
)

// ParseContentType parses the Content-Type of a form (RFC 9110, section 8.3.1; RFC 7578,
// section 4.1). It returns the media type in lower case and, for KindMultipart, the
// boundary.
//
// Like Tornado it accepts some values that clients send and mime.ParseMediaType refuses:
// boundaries with any characters except control characters, quoted or not
// (boundary====1===), and parameters without a value.
//
// The error wraps ErrMalformed if value cannot be parsed, or if it is
// multipart/form-data without a valid boundary.
func ParseContentType(value string) (kind, boundary string, err error) {
	kind, rest, _ := strings.Cut(value, ";")
	kind = strings.ToLower(strings.TrimSpace(kind))
	if main, sub, ok := strings.Cut(kind, "/"); !ok || !isToken(main) || !isToken(sub) {
		return "", "", WithReason(ErrMalformed, fmt.Sprintf("the Content-Type %q cannot be parsed", shorten(value)))
	}
	if kind != KindMultipart {
		return kind, "", nil
	}
	parameters, ok := parseParameters(rest)
	if !ok {
		return "", "", WithReason(ErrMalformed, fmt.Sprintf("the parameters of the Content-Type %q cannot be parsed", shorten(value)))
	}
	boundary = parameters["boundary"]
	switch {
	case boundary == "":
		return "", "", WithReason(ErrMalformed, "the Content-Type multipart/form-data has no boundary")
	case !validBoundary(boundary):
		return "", "", WithReason(ErrMalformed, fmt.Sprintf("the boundary in the Content-Type has control characters, ends with a space or is longer than %d bytes", maxBoundary))
	}
	return kind, boundary, nil
}

// validBoundary reports whether s can be a boundary. It must not end with a space,
// because some programs between client and server remove white space at line ends.
func validBoundary(s string) bool {
	return s != "" && len(s) <= maxBoundary && s[len(s)-1] != ' ' &&
		strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) < 0
}

// isToken reports whether s is a token (RFC 9110, section 5.6.2).
func isToken(s string) bool {
	return s != "" && strings.IndexFunc(s, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
	}) < 0
}

// shorten limits s to a length that is suitable for an error text.
func shorten(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "..."
}
