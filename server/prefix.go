package server

import (
	"bytes"
	"errors"
	"strings"
	"time"

	"github.com/valyala/fasthttp"
)

// maxPrefix is the longest X-Forwarded-Prefix that is accepted.
const maxPrefix = 256

// CheckBasePath returns an error that says why path cannot be Options.BasePath. A base
// path begins with a slash, does not end in one, and is an unambiguous path in ASCII.
func CheckBasePath(path string) error {
	switch {
	case !strings.HasPrefix(path, "/"):
		return errors.New("must begin with a slash, as in /gale")
	case strings.HasSuffix(path, "/"):
		return errors.New("must not end in a slash")
	case !validPrefix([]byte(path)):
		return errors.New("must be segments of letters, digits and -._~+@%, and none of them may be empty, . or .. itself")
	}
	return nil
}

// validPrefix reports whether prefix can be put in front of a path. It must not lead to
// another host, contain a line break, or need quoting.
func validPrefix(prefix []byte) bool {
	for _, b := range prefix {
		letter := 'a' <= b|0x20 && b|0x20 <= 'z'
		if !letter && (b < '0' || b > '9') && strings.IndexByte("/-._~+@%", b) < 0 {
			return false
		}
	}
	return len(prefix) <= maxPrefix && cleanPath(prefix) && prefix[len(prefix)-1] != '/'
}

// withoutBase returns path without the base path, and whether path began with it.
// Proxies may remove the base path or keep it.
func (t *routes) withoutBase(path []byte) (rest []byte, hadBase bool) {
	if t.base == "" || !bytes.HasPrefix(path, []byte(t.base)) {
		return path, false
	}
	switch rest = path[len(t.base):]; {
	case len(rest) == 0:
		return []byte("/"), true
	case rest[0] != '/':
		return path, false
	}
	return rest, true
}

// Link returns path with the prefix that the client of the request must use to reach it
// through its proxies: the X-Forwarded-Prefix of a trusted proxy, or else
// Options.BasePath.
func Link(ctx *fasthttp.RequestCtx, path string) string {
	prefix, _ := publicPrefix(ctx)
	return prefix + path
}

// Location returns the value of the field Location for path. It is that of Link, unless
// a trusted proxy has forwarded the request and its prefix is not known. Then the result
// is relative to the path of the request (RFC 9110 §10.2.2): a relative reference is
// right under any prefix, even if the proxy maps another path to /tus/.
func Location(ctx *fasthttp.RequestCtx, path string) string {
	prefix, known := publicPrefix(ctx)
	if known {
		return prefix + path
	}
	return relativeReference(string(targetPath(ctx.RequestURI())), path)
}

// publicPrefix returns the prefix that the client sees in front of the routes' paths.
// known is false if a proxy has forwarded the request without X-Forwarded-Prefix, since
// the proxy may have changed the path.
func publicPrefix(ctx *fasthttp.RequestCtx) (prefix string, known bool) {
	c, ok := ctx.Conn().(*conn)
	if !ok {
		return "", true
	}
	s, h := c.srv, &ctx.Request.Header
	base := s.routes.base
	if lines := h.PeekAll(headerForwardedPrefix); c.trusted && len(lines) > 0 {
		forwardedPrefix := bytes.TrimSuffix(lines[0], []byte("/"))
		if len(lines) == 1 && (len(forwardedPrefix) == 0 || validPrefix(forwardedPrefix)) {
			// The proxy has removed this prefix from the path. The base path counts
			// only if the path still has it.
			if _, hadBase := s.routes.withoutBase(targetPath(ctx.RequestURI())); !hadBase {
				base = ""
			}
			return string(forwardedPrefix) + base, true
		}
		if n := s.prefixLog.add(time.Now()); n > 0 {
			s.opts.Logger.Warn("X-Forwarded-Prefix ignored: not a path such as /gale", "value", string(lines[0][:min(len(lines[0]), maxPrefix)]), "proxy", c.peer, "count", n)
		}
	}
	return base, base != "" || !c.trusted || !forwarded(h)
}

// forwarded reports whether a proxy seems to have forwarded the request. HTTP/1.0 is a
// sign of that, since nginx uses it for upstream servers by default.
func forwarded(h *fasthttp.RequestHeader) bool {
	if !h.IsHTTP11() {
		return true
	}
	for _, name := range []string{headerForwardedFor, headerForwardedProto, fasthttp.HeaderXForwardedHost, headerRealIP, headerScheme, fasthttp.HeaderForwarded, fasthttp.HeaderVia} {
		if len(h.Peek(name)) > 0 {
			return true
		}
	}
	return false
}

// relativeReference returns the reference that leads from one path to another (RFC
// 3986 §5.2).
func relativeReference(from, to string) string {
	shared := 0 // length of the common folders
	for i := 0; i < len(from) && i < len(to) && from[i] == to[i]; i++ {
		if from[i] == '/' {
			shared = i + 1
		}
	}
	reference := strings.Repeat("../", strings.Count(from[shared:], "/")) + to[shared:]
	if first, _, _ := strings.Cut(reference, "/"); first == "" || strings.Contains(first, ":") {
		return "./" + reference // without it the reference would be empty or begin with a scheme or host
	}
	return reference
}
