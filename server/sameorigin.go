package server

import (
	"net/netip"
	"net/url"
	"strings"

	"github.com/valyala/fasthttp"
)

// SameOrigin reports whether origin, the value of a browser's Origin field, is the
// origin (RFC 6454 §4) that the request was sent to. Scheme, host and port are
// compared: a port that is not given is the scheme's own, and hosts are compared
// without regard to case, IPv6 addresses as addresses.
//
// https says that the server itself speaks TLS. Then, and when X-Scheme or
// X-Forwarded-Proto says https, pages by http are of another origin. Otherwise the
// scheme is unknown, since a proxy in front may hide TLS without a word, and the
// page's own is assumed. Both fields are read whoever the peer is: no page can make
// a browser send them, and they can only turn a request away here.
func SameOrigin(h *fasthttp.RequestHeader, origin string, https bool) bool {
	scheme, rest, _ := strings.Cut(origin, "://")
	scheme = strings.ToLower(scheme)
	switch scheme {
	case "http", "https":
	case "ws", "wss": // what some clients that are no browsers send
		scheme = "http" + strings.TrimPrefix(scheme, "ws")
	default:
		return false // "null", and pages that no web server has served
	}
	if scheme == "http" && (https || forwardedScheme(h) == "https") {
		return false
	}
	page, ok := authority(rest, scheme)
	here, sound := authority(string(h.Host()), scheme)
	return ok && sound && page == here
}

// place is a host, in one spelling, and a port.
type hostPort struct{ host, port string }

// authority reads host[:port] (RFC 3986 §3.2); the port of the scheme is the default.
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
