package server

import "bytes"

// targetPath returns the raw path of a request target in origin form or in absolute
// form, which a server must accept too (RFC 9112 §3.2). It returns nil for other forms
// and for a target with a fragment, which is malformed.
//
// It does not use ctx.Path, which fasthttp cleans: with `//`, `/../` or their escapes
// a client could reach a route that a proxy in front of this server blocks. It does not
// use URI().PathOriginal either: if the request has no Host, fasthttp takes the first
// segment of `//host/path` for a host.
func targetPath(target []byte) []byte {
	if bytes.IndexByte(target, '#') >= 0 {
		return nil
	}
	if len(target) > 0 && target[0] != '/' {
		_, rest, ok := bytes.Cut(target, []byte("://"))
		if !ok {
			return nil
		}
		start := bytes.IndexAny(rest, "/?")
		if start < 0 || rest[start] == '?' {
			return []byte("/")
		}
		target = rest[start:]
	}
	path, _, _ := bytes.Cut(target, []byte("?"))
	return path
}

// cleanPath reports whether path means the same decoded and not decoded. Such a path
// begins with a slash and has no incomplete escapes and no control characters. Only its
// last segment may be empty, and no segment is `.` or `..`. Other paths have no route:
// they get a 404 response, never a redirect to a similar path.
func cleanPath(path []byte) bool {
	if len(path) == 0 || path[0] != '/' {
		return false
	}
	length, dots := 0, 0 // of the current segment so far
	for i := 1; i < len(path); i++ {
		c := path[i]
		if c == '%' {
			if i+2 >= len(path) || hexValue(path[i+1]) < 0 || hexValue(path[i+2]) < 0 {
				return false
			}
			c = byte(hexValue(path[i+1])<<4 | hexValue(path[i+2]))
			i += 2
		}
		switch {
		case c < ' ' || c == 0x7f:
			return false
		case c == '/':
			if length == 0 || length <= 2 && dots == length {
				return false
			}
			length, dots = 0, 0
			continue
		case c == '.':
			dots++
		}
		length++
	}
	return length == 0 || length > 2 || dots < length
}

// hexValue returns the value of a hexadecimal digit, or -1.
func hexValue(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
