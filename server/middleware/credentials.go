package middleware

import (
	"crypto/sha256"
	"crypto/subtle"
	"strings"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/server"
)

// Equal reports whether a and b are equal. The time that it takes depends on their
// lengths only, so a client cannot guess a password or token byte by byte.
func Equal(a, b string) bool {
	// Digests have the same length, which ConstantTimeCompare needs.
	digestA, digestB := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(digestA[:], digestB[:]) == 1
}

// credentials returns what the field Authorization contains after the name of scheme (RFC
// 9110 §11.6.2). It is "" if the request has no such field, or one of another scheme. The
// server has refused requests with a repeated field.
func credentials(h *fasthttp.RequestHeader, scheme string) string {
	name, rest, _ := strings.Cut(string(h.Peek(fasthttp.HeaderAuthorization)), " ")
	if !strings.EqualFold(name, scheme) {
		return ""
	}
	return strings.Trim(rest, " ")
}

// unauthorized is a 401 response.
func unauthorized(reason, challenge string) error {
	return &server.Error{Status: fasthttp.StatusUnauthorized, Reason: reason, Challenge: challenge}
}

// quote returns text as a quoted-string (RFC 9110 §5.6.4), without the characters that
// are not printable ASCII.
func quote(text string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range text {
		if r == '"' || r == '\\' {
			b.WriteByte('\\')
		}
		if ' ' <= r && r <= '~' {
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
