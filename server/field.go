package server

import (
	"bytes"
	"strings"

	"github.com/valyala/fasthttp"
)

// List returns the value of a field whose value is a list. Several lines of such a field mean
// the same as one line with commas (RFC 9110 §5.3).
func List(h *fasthttp.RequestHeader, name string) string {
	lines := h.PeekAll(name)
	if len(lines) == 1 { // the common case, without a join
		return string(lines[0])
	}
	return string(bytes.Join(lines, []byte(", ")))
}

// HasToken reports whether a list field, such as Connection, contains token, without
// regard to case.
func HasToken(h *fasthttp.RequestHeader, name, token string) bool {
	for _, line := range h.PeekAll(name) {
		if hasToken(line, token) {
			return true
		}
	}
	return false
}

// Single returns the value of a field that must not be repeated, or "" if the request
// does not have it. ok is false if the field is repeated, since a proxy may use another
// one of the values than this server.
func Single(h *fasthttp.RequestHeader, name string) (value string, ok bool) {
	switch lines := h.PeekAll(name); len(lines) {
	case 0:
		return "", true
	case 1:
		return string(lines[0]), true
	}
	return "", false
}

// addVary adds the name of a request field to Vary (RFC 9110 §12.5.5).
func addVary(h *fasthttp.ResponseHeader, name string) {
	lines := h.PeekAll(fasthttp.HeaderVary)
	for _, line := range lines {
		if hasToken(line, name) || hasToken(line, "*") {
			return
		}
	}
	if len(lines) > 0 && len(lines[0]) > 0 {
		name = string(lines[0]) + ", " + name
	}
	h.Set(fasthttp.HeaderVary, name) // replaces the first line only
}

// lastElement returns the last element of a list field: the one that the nearest proxy
// has added (see Scheme).
func lastElement(h *fasthttp.RequestHeader, name string) string {
	list := List(h, name)
	return strings.TrimSpace(list[strings.LastIndexByte(list, ',')+1:])
}
