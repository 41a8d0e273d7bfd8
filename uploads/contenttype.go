package uploads

import (
	"fmt"
	"strings"
)

// maxBoundary is the longest boundary that is accepted, in bytes. RFC 2046,
// section 5.1.1, allows 70; Tornado sets no limit.
const maxBoundary = 1024

// Kinds of forms, as ParseContentType returns them.
const (
	KindMultipart  = "multipart/form-data"
	KindURLEncoded = "application/x-www-form-urlencoded"
)

// ParseContentType reads the Content-Type of a form (RFC 9110, section 8.3.1;
// RFC 7578, section 4.1): its media type in lower case and, for KindMultipart,
// the boundary.
//
// It accepts what clients send and mime.ParseMediaType refuses, as Tornado does:
// boundaries of any characters but control characters, quoted or not
// (boundary====1===), and parameters without a value.
//
// The error wraps ErrMalformed if the value cannot be parsed, and for
// multipart/form-data without one usable boundary.
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

// validBoundary reports whether parts can be found by the boundary: lines that
// end with white space are the same line to many programs on the way.
func validBoundary(s string) bool {
	return s != "" && len(s) <= maxBoundary && s[len(s)-1] != ' ' &&
		strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) < 0
}

// isToken is the rule of RFC 9110, section 5.6.2.
func isToken(s string) bool {
	return s != "" && strings.IndexFunc(s, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
	}) < 0
}

// shorten bounds what an error quotes.
func shorten(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "..."
}
