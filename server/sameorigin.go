package server

import (
	"net/netip"
	"net/url"
	"strings"

	"github.com/valyala/fasthttp"
)

// SameOrigin reports whether origin, the value of a browser's Origin field, is the
// origin (RFC 6454 §4) to which the request was sent. It compares scheme, host and
// port. A missing port is the default port of the scheme, and hosts are compared
// without regard to case, IPv6 addresses by value.
//
// https must be true if the server itself uses TLS. In that case, or if X-Scheme or
// X-Forwarded-Proto is https, a page with http has another origin. Otherwise the scheme
// of the request is unknown, since a proxy may terminate TLS without adding a field;
// SameOrigin then assumes the scheme of the page. It reads both fields from any peer,
// trusted or not: a page cannot make a browser send them, and they can only make
// SameOrigin return false.
func SameOrigin(h *fasthttp.RequestHeader, origin string, https bool) bool {
	scheme, rest, _ := strings.Cut(origin, "://")
	scheme = strings.ToLower(scheme)
	switch scheme {
	case "http", "https":
	case "ws", "wss": // sent by some clients that are not browsers
		scheme = "http" + strings.TrimPrefix(scheme, "ws")
	default:
		return false // "null", and pages that did not come from a web server
	}
	if scheme == "http" && (https || forwardedScheme(h) == "https") {
		return false
	}
	page, ok := authority(rest, scheme)
	own, ownOK := authority(string(h.Host()), scheme)
	return ok && ownOK && page == own
}

// hostPort is a normalized host and a port.
type hostPort struct{ host, port string }

// authority parses host[:port] (RFC 3986 §3.2). The default port is that of the
// scheme.
func authority(text, scheme string) (p hostPort, ok bool) {
	u, err := url.Parse(scheme + "://" + text)
	if err != nil || u.Hostname() == "" || u.Host != text || u.User != nil {
		return hostPort{}, false
	}
	p = hostPort{strings.ToLower(u.Hostname()), u.Port()}
	if addr, err := netip.ParseAddr(p.host); err == nil {
		p.host = addr.String()
	}
	if p.port == "" {
		p.port = defaultPorts[scheme]
	}
	return p, true
}
